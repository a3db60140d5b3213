// The plugin: who is asked before a tool runs, and told after it did. A hook that fails blocks the call, as OpenClaw has it.

import { definePluginEntry } from "openclaw/plugin-sdk/plugin-entry";

import { ControlPlane } from "./control-plane.ts";
import { Governor } from "./governor.ts";

const SPARE_SECONDS = 5;

export default definePluginEntry({
  id: "aisecops",
  name: "AISecOps",
  description: "Every tool call is decided before it is made, and told of when it was",
  register(api) {
    const config = (api.pluginConfig ?? {}) as Record<string, any>;
    const deadlineSeconds = Number(config.deadlineSeconds ?? 10);
    const approvalSeconds = Number(config.approvalSeconds ?? 0);
    const plane = new ControlPlane(String(config.address), String(config.tokenFile), deadlineSeconds);
    const governor = new Governor(
      plane,
      {
        environment: String(config.environment ?? "production"),
        server: String(config.server ?? "openclaw"),
        tools: { ...(config.tools as Record<string, string> | undefined) },
        approvalSeconds,
      },
      (message) => api.logger.warn(message),
    );
    const sessionOf = (context: { sessionId?: string; sessionKey?: string }) =>
      context.sessionId ?? context.sessionKey ?? "no-session";

    api.on("before_agent_run", (event, context) => {
      governor.begin(sessionOf(context), event.messages, event.prompt, event.senderIsOwner === true);
    });
    api.on(
      "before_tool_call",
      async (event, context) => {
        const params = structuredClone(event.params);
        const call = { session: sessionOf(context), toolName: event.toolName, params };
        const refused = await governor.before(call, event.toolCallId ?? "");
        // What is decided is what runs: of the arguments that hooks return, the last ones count, and this hook is last.
        return refused === undefined ? { params } : { block: true, blockReason: refused };
      },
      // Telling, looking, deciding, looking again and deciding again may each take as long as an answer may.
      { priority: Number.MIN_SAFE_INTEGER, timeoutMs: (deadlineSeconds * 6 + approvalSeconds * 2 + SPARE_SECONDS) * 1000 },
    );
    api.on("after_tool_call", async (event, context) => {
      const call = { session: sessionOf(context), toolName: event.toolName, params: event.params };
      await governor.after(call, event.toolCallId ?? "", event.result, event.error);
    });
  },
});
