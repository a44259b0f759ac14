// Reads an AsyncAPI document from stdin and prints the parser's diagnostics as JSON.
// The exit code is 1 if there is a warning or an error.
import { text } from "node:stream/consumers";
import { Parser } from "@asyncapi/parser";

const SEVERITIES = ["error", "warning", "information", "hint"];
const { diagnostics } = await new Parser().parse(await text(process.stdin));
const found = diagnostics.map(({ severity, code, path, message }) => ({
  severity: SEVERITIES[severity],
  code,
  path: path.join("/"),
  message,
}));
console.log(JSON.stringify(found, null, 1));
process.exitCode = found.some(({ severity }) => severity === "error" || severity === "warning") ? 1 : 0;
