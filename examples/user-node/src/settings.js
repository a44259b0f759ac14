/**
 * Reads the settings from the environment; a missing or wrong one prevents the start (WIRE.md 1).
 */

import { isIPv6 } from "node:net";

/** Removes the brackets of an IPv6 address. @param {string} host */
const bare = (host) => host.replace(/^\[(.*)\]$/, "$1");

/** @param {string} value */
const isHost = (value) => (/[:[\]]/.test(value) ? isIPv6(bare(value)) : /^[\w.-]{1,253}$/.test(value));

/** The environment is wrong; the message has one line for each variable. */
export class SettingsError extends Error {}

/**
 * @typedef {object} Settings
 * @property {string} host The address that the app listens on.
 * @property {number} port
 * @property {string} sidecarHost The host of the sidecar's API.
 * @property {number} sidecarPort
 * @property {string} appToken The token that the sidecar sends.
 * @property {string} sidecarToken The token that the app sends to the sidecar.
 */

/**
 * Reads all settings and reports all errors at once.
 * @param {Record<string, string | undefined>} env
 * @returns {Readonly<Settings>}
 */
export function readSettings(env) {
  /** @type {string[]} */
  const errors = [];

  /**
   * @param {string} name
   * @param {{test: (value: string) => boolean}} form
   * @param {string} expected
   * @param {string} [fallback]
   */
  const text = (name, form, expected, fallback) => {
    const value = env[name] || fallback; // an empty value counts as missing
    if (value === undefined) errors.push(`${name} is missing`);
    else if (!form.test(value)) errors.push(`${name} must be ${expected}`);
    return value ?? "";
  };
  /** @param {string} name */
  const port = (name) => {
    const value = Number(text(name, /^[0-9]{1,5}$/, "a port, 1 to 65535"));
    if (value > 65535 || (value < 1 && /^0+$/.test(env[name] ?? ""))) errors.push(`${name} must be a port, 1 to 65535`);
    return value;
  };
  /** @param {string} name */
  const host = (name) => bare(text(name, { test: isHost }, "a host name or address, without a port", "127.0.0.1"));
  /** A token must be valid in a header. @param {string} name */
  const token = (name) => text(name, /^[\x21-\x7e]{1,1024}$/, "1 to 1,024 visible ASCII characters");

  const settings = Object.freeze({
    host: host("APP_HOST"),
    port: port("APP_PORT"),
    sidecarHost: host("DAPR_HOST"),
    sidecarPort: port("DAPR_HTTP_PORT"),
    appToken: token("APP_API_TOKEN"),
    sidecarToken: token("DAPR_API_TOKEN"),
  });
  if (errors.length > 0) throw new SettingsError(errors.join("\n"));
  return settings;
}
