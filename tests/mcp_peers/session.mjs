// One session of the official SDK, told by argv, and everything that its client saw as JSON on standard output.
//   node session.mjs sdk|client '{"command": …, "args": […], "env": {…}, "calls": [[name, arguments], …]}'
//   node session.mjs sdk|client '{"url": …, "token": …, "calls": [[name, arguments], …]}'
// "sdk" is the line of the SDK that begins with a handshake; "client" the one that probes which era a server speaks.

const [which, told] = process.argv.slice(2);
const { calls, ...server } = JSON.parse(told);
const folder = which === "sdk" ? "@modelcontextprotocol/sdk/client" : "@modelcontextprotocol/client";
const { Client } = await import(which === "sdk" ? `${folder}/index.js` : folder);
const { StdioClientTransport } = await import(which === "sdk" ? `${folder}/stdio.js` : `${folder}/stdio`);
const { StreamableHTTPClientTransport } = await import(which === "sdk" ? `${folder}/streamableHttp.js` : folder);

const options = which === "sdk" ? {} : { versionNegotiation: { mode: "auto" } };
const client = new Client({ name: "session", version: "1" }, options);
const progress = [];
const attempt = async (ask) => {
  try {
    return await ask();
  } catch (error) {
    return { failed: String(error) };
  }
};

const headers = { Authorization: `Bearer ${server.token}` };
const transport = server.url
  ? new StreamableHTTPClientTransport(new URL(server.url), server.token ? { requestInit: { headers } } : {})
  : new StdioClientTransport({ ...server, stderr: "inherit" });
await client.connect(transport);
const capabilities = client.getServerCapabilities();
const seen = {
  server: client.getServerVersion(),
  capabilities,
  instructions: client.getInstructions(),
  tools: await attempt(() => client.listTools()),
};
if (capabilities.resources) {
  seen.resources = await attempt(() => client.listResources());
  seen.templates = await attempt(() => client.listResourceTemplates());
  const [first] = seen.resources.resources ?? [];
  if (first) seen.read = await attempt(() => client.readResource({ uri: first.uri }));
}
if (capabilities.prompts) {
  seen.prompts = await attempt(() => client.listPrompts());
  const plain = seen.prompts.prompts?.find((prompt) => !prompt.arguments?.length);
  if (plain) seen.prompt = await attempt(() => client.getPrompt({ name: plain.name }));
}
seen.calls = [];
for (const [name, given] of calls) {
  const onprogress = (told) => progress.push(told);
  const ask = { name, arguments: given };
  const made = which === "sdk" ? () => client.callTool(ask, undefined, { onprogress }) : () => client.callTool(ask, { onprogress });
  seen.calls.push([name, await attempt(made)]);
}
// What comes in one breath with the answer, the SDK may drop, bare as well: it no longer listens.
seen.progress = progress.filter((told) => told.progress < told.total);
await client.close();
process.stdout.write(JSON.stringify(seen));
