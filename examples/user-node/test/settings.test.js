/** The error names each missing or wrong setting. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { readSettings, SettingsError } from "../src/settings.js";

const ENV = { APP_PORT: "8001", DAPR_HTTP_PORT: "3501", APP_API_TOKEN: "a", DAPR_API_TOKEN: "b" };

test("four settings are required and two have defaults", () => {
  const expected = { port: 8001, sidecarPort: 3501, appToken: "a", sidecarToken: "b" };

  assert.deepEqual(readSettings(ENV), { ...expected, host: "127.0.0.1", sidecarHost: "127.0.0.1" });
  assert.deepEqual(readSettings({ ...ENV, APP_HOST: "0.0.0.0", DAPR_HOST: "sidecar" }), {
    ...expected,
    host: "0.0.0.0",
    sidecarHost: "sidecar",
  });
});

test("one error names all missing settings", () => {
  assert.throws(
    () => readSettings({}),
    (error) =>
      error instanceof SettingsError &&
      error.message ===
        Object.keys(ENV)
          .map((name) => `${name} is missing`)
          .join("\n"),
  );
});

for (const [name, value] of [
  ["APP_PORT", "0"],
  ["APP_PORT", "65536"],
  ["APP_PORT", "-1"],
  ["APP_PORT", "80 "],
  ["APP_PORT", "0x10"],
  ["DAPR_HTTP_PORT", "http"],
  ["APP_API_TOKEN", "two words"],
  ["DAPR_API_TOKEN", "a\r\nb: c"],
  ["DAPR_API_TOKEN", "ü"],
  ["APP_HOST", "a b"],
  ["DAPR_HOST", "\n"],
  ["APP_HOST", "127.0.0.1:80"],
  ["APP_HOST", "[::1]:80"],
  ["DAPR_HOST", "[127.0.0.1]"],
  ["DAPR_HOST", "::g"],
]) {
  test(`${name}=${JSON.stringify(value)} is the only reported error`, () => {
    assert.throws(
      () => readSettings({ ...ENV, [name]: value }),
      (error) =>
        error instanceof SettingsError && error.message.startsWith(`${name} must be `) && !error.message.includes("\n"),
    );
  });
}

test("an IPv6 address is valid with and without brackets", () => {
  for (const APP_HOST of ["::1", "[::1]"]) assert.equal(readSettings({ ...ENV, APP_HOST }).host, "::1");
});
