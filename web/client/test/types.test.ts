import assert from "node:assert/strict";
import { test } from "node:test";
import { methods, reasons, type MarketplaceClient, type Request, type StreamMethod } from "../src/index.js";

/** Is never called: the compiler reads it. What it expects to be refused must be. */
export async function typed(client: MarketplaceClient): Promise<void> {
  const { deployment } = await client.call("cloud-user/deployment-detail", { deploymentId: "x" });
  const state: "DEPLOYMENT_STATE_RUNNING" | string | undefined = deployment?.state;
  const price: string | undefined = deployment?.hourlyPrice;
  const vcpus: number | undefined = deployment?.spec?.vcpus;
  void [state, price, vcpus];
  // @ts-expect-error: 64-bit numbers are strings
  const number: number | undefined = deployment?.hourlyPrice;
  void number;
  // @ts-expect-error: there is no such method
  await client.call("cloud-user/nothing", {});
  // @ts-expect-error: a field that is required is missing
  await client.call("cloud-user/deployment-detail", {});
  // @ts-expect-error: there is no such field
  await client.call("cloud-user/deployment-detail", { deploymentId: "x", deployment: 1 });
  // @ts-expect-error: an enum has its values alone
  await client.call("cloud-operator/broadcast", { text: "x", severity: "LOUD" });
  // @ts-expect-error: a stream is watched, not called
  await client.call("cloud-user/watch-account", {});
  // @ts-expect-error: a read is called, not watched
  client.watch("cloud-user/get-account", {});
  // @ts-expect-error: the session is the client's own matter
  await client.call("session/open", { accessToken: "x" });
  for await (const push of client.watch("cloud-user/watch-notifications", {}, { after: "x" })) {
    const text: string | undefined = push.result.notifications[0]?.text;
    void [text, push.position, push.recovered];
  }
  const request: Request<"cloud-user/create-deployment"> = { name: "x", spec: { vcpus: 1, memoryMib: 256, diskGib: 1 }, nodeId: 1, maxHourlyPrice: "1" };
  const stream: StreamMethod = "session/watch-broadcasts";
  void [request, stream];
}

test("the table of methods is there at run time", () => {
  assert.deepEqual(methods["cloud-user/create-deployment"], { path: "cloud-user/create-deployment", kind: "command", roles: ["ROLE_CLOUD_USER"] });
  assert.deepEqual(reasons.OVERLOADED, { code: 8, http: 429, retry: true });
});
