// One call of the official SDK whose user is asked meanwhile, told by argv. What is asked is a line on standard output, the
// user's answer a line on standard input, and what the client saw of the call the last line.
//   node consent.mjs sdk|client '{"command": …, "args": […], "env": {…}, "call": [name, arguments]}'

import { createInterface } from "node:readline";

const [which, told] = process.argv.slice(2);
const { call, ...server } = JSON.parse(told);
const folder = which === "sdk" ? "@modelcontextprotocol/sdk/client" : "@modelcontextprotocol/client";
const { Client } = await import(which === "sdk" ? `${folder}/index.js` : folder);
const { StdioClientTransport } = await import(which === "sdk" ? `${folder}/stdio.js` : `${folder}/stdio`);

const capabilities = { elicitation: { form: {} } };
const options = which === "sdk" ? { capabilities } : { capabilities, versionNegotiation: { mode: "auto" } };
const client = new Client({ name: "consent", version: "1" }, options);
const user = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const elicited = async ({ params }) => {
  say({ asked: params.message });
  const { value: action } = await user.next();
  return action === "accept" ? { action, content: {} } : { action };
};

if (which === "sdk") {
  const { ElicitRequestSchema } = await import("@modelcontextprotocol/sdk/types.js");
  client.setRequestHandler(ElicitRequestSchema, elicited);
} else {
  client.setRequestHandler("elicitation/create", elicited);
}
await client.connect(new StdioClientTransport({ ...server, stderr: "inherit" }));
const [name, given] = call;
say({ result: await client.callTool({ name, arguments: given }), era: client.getNegotiatedProtocolVersion?.() });
await client.close();
process.exit(0);
