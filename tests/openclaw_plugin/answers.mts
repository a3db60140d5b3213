// Has the plugin ask a server that answers as it is told, and prints what becomes of each call: one line of JSON each.

import { createServer } from "node:http";

import { canonical, sha256 } from "../../clients/openclaw/src/canonical.ts";
import { ControlPlane } from "../../clients/openclaw/src/control-plane.ts";
import { Governor } from "../../clients/openclaw/src/governor.ts";

const [tokenFile] = process.argv.slice(2);
const fits = { grantId: "g", tool: "openclaw/read", argumentsSha256: sha256(canonical({ a: 1 })), redeemed: true };
const decided = (grants: unknown, outcome: unknown = "OUTCOME_ALLOW") =>
  [200, JSON.stringify({ decision: { outcome }, grants })] as const;
const answers: Record<string, readonly [number, string] | null> = {
  "the decision and its grant": decided([fits]),
  "a grant of other arguments": decided([{ ...fits, argumentsSha256: sha256("{}") }]),
  "a grant of another tool": decided([{ ...fits, tool: "payments/pay" }]),
  "a grant that is not used up": decided([{ ...fits, redeemed: false }]),
  "two grants": decided([fits, fits]),
  "no grant": decided([]),
  "a duty that cannot be kept": decided([{ ...fits, obligations: [{ kind: "redact" }] }]),
  "an outcome in other letters": decided([fits], "outcome_allow"),
  "an outcome that is a number": decided([fits], 1),
  "people without a request": decided([fits], "OUTCOME_REQUIRE_APPROVAL"),
  "no decision": [200, "{}"],
  "a list": [200, "[]"],
  nothing: [200, "null"],
  "a page": [200, "<html>"],
  "the way elsewhere": [302, ""],
  silence: null,
};
const calls: Record<string, [string, Record<string, unknown>]> = {
  "a date in the arguments": ["read", { a: new Date(0) }],
  "a number that JSON lacks": ["read", { a: Number.NaN }],
  "text that is no Unicode": ["read", { a: "\ud800" }],
  "a name that policy cannot name": ["a b", { a: 1 }],
  "arguments without an end": ["read", nested(100_000)],
};

let answer: readonly [number, string] | null | undefined;
let elsewhere = 0;
const server = createServer((request, response) => {
  if (request.url === "/elsewhere") elsewhere += 1;
  if (!answer) return;
  response.writeHead(answer[0], answer[0] === 302 ? { location: "/elsewhere" } : {}).end(answer[1]);
});
await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
const address = server.address();
const port = typeof address === "object" && address ? address.port : 0;

async function ask(name: string, tool: string, params: Record<string, unknown>): Promise<void> {
  const plane = new ControlPlane(`http://127.0.0.1:${port}`, tokenFile ?? "", 1);
  const settings = { environment: "production", server: "openclaw", tools: {}, approvalSeconds: 0 };
  const refused = await new Governor(plane, settings, () => {}).before({ session: "s", toolName: tool, params }, "c");
  console.log(JSON.stringify([name, refused ?? ""]));
}

for (const [name, told] of Object.entries(answers)) {
  answer = told;
  await ask(name, "read", { a: 1 });
}
answer = answers["the decision and its grant"];
for (const [name, [tool, params]] of Object.entries(calls)) await ask(name, tool, params);
console.log(JSON.stringify(["asked elsewhere", String(elsewhere)]));
for (const far of ["http://elsewhere.example", "http://127.0.0.1.elsewhere.example", "ftp://127.0.0.1"]) {
  try {
    new ControlPlane(far, tokenFile ?? "", 1);
    console.log(JSON.stringify([far, ""]));
  } catch (error) {
    console.log(JSON.stringify([far, String(error)]));
  }
}
process.exit(0);

function nested(depth: number): Record<string, unknown> {
  let value: unknown = 1;
  for (let at = 0; at < depth; at += 1) value = [value];
  return { value };
}
