/** The settings: environment variables, read once; a missing or wrong one stops the start with its name (WIRE.md 1). */

import { isIPv6 } from "node:net";

/** Takes off the brackets that an IPv6 address may have. @param {string} host */
const bare = (host) => host.replace(/^\[(.*)\]$/, "$1");

/** @param {string} value */
const isHost = (value) => (/[:[\]]/.test(value) ? isIPv6(bare(value)) : /^[\w.-]{1,253}$/.test(value));

/** What is wrong with the environment, one line for each variable. */
export class SettingsError extends Error {}

/**
 * @typedef {object} Settings
 * @property {string} host where the app listens
 * @property {number} port
 * @property {string} sidecarHost where the sidecar's API is
 * @property {number} sidecarPort
 * @property {string} appToken what the sidecar shows to us
 * @property {string} sidecarToken what we show to the sidecar
 */

/**
 * Reads all settings, so that all that is wrong is said at once.
 * @param {Record<string, string | undefined>} env
 * @returns {Readonly<Settings>}
 */
export function readSettings(env) {
  /** @type {string[]} */
  const wrong = [];

  /** @param {string} name @param {{test: (value: string) => boolean}} form @param {string} told @param {string} [otherwise] */
  const text = (name, form, told, otherwise) => {
    const value = env[name] || otherwise; // an empty one is a missing one
    if (value === undefined) wrong.push(`${name} is missing`);
    else if (!form.test(value)) wrong.push(`${name} must be ${told}`);
    return value ?? "";
  };
  /** @param {string} name */
  const port = (name) => {
    const value = Number(text(name, /^[0-9]{1,5}$/, "a port, 1 to 65535"));
    if (value > 65535 || (value < 1 && /^0+$/.test(env[name] ?? ""))) wrong.push(`${name} must be a port, 1 to 65535`);
    return value;
  };
  /** @param {string} name */
  const host = (name) => bare(text(name, { test: isHost }, "a host name or address, without a port", "127.0.0.1"));
  /** A token goes into a header as it is. @param {string} name */
  const token = (name) => text(name, /^[\x21-\x7e]{1,1024}$/, "1 to 1,024 visible ASCII characters");

  const settings = Object.freeze({
    host: host("APP_HOST"),
    port: port("APP_PORT"),
    sidecarHost: host("DAPR_HOST"),
    sidecarPort: port("DAPR_HTTP_PORT"),
    appToken: token("APP_API_TOKEN"),
    sidecarToken: token("DAPR_API_TOKEN"),
  });
  if (wrong.length > 0) throw new SettingsError(wrong.join("\n"));
  return settings;
}
