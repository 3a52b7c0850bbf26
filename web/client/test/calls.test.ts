import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ClosedError, MarketplaceError, type MarketplaceClient } from "../src/index.js";
import { Server } from "./server.js";

const server = new Server();
let alice: MarketplaceClient;
let olga: MarketplaceClient;

before(async () => {
  await server.start();
  alice = server.client("alice");
  olga = server.client("olga");
});

after(async () => {
  alice.close();
  olga.close();
  await server.remove();
});

test("a read is answered, and what may be zero is there", async () => {
  const { account } = await alice.call("cloud-user/get-account", {});
  assert.equal(account?.userId, "sandbox|alice");
  assert.equal(account?.credit, "0");
  assert.equal(account?.runOutTime, undefined);
});

test("a command under the same id is decided once", async () => {
  const commandId = olga.commandId();
  assert.match(commandId, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const grant = { userId: "sandbox|bob", amount: "5" };
  const first = await olga.request("cloud-operator/grant-credit", grant, { commandId });
  const second = await olga.request("cloud-operator/grant-credit", grant, { commandId });
  assert.deepEqual(second.result, first.result);
  assert.equal(first.result.credit, "5");
  assert.ok(first.position);
});

test("command ids rise, also within a millisecond", () => {
  const ids = Array.from({ length: 10_000 }, () => alice.commandId());
  assert.deepEqual([...ids].sort(), ids);
  assert.equal(new Set(ids).size, ids.length);
});

test("a refusal says why, and which field it is", async () => {
  const refused = await alice
    .call("cloud-user/create-deployment", { name: "Not A Name", spec: { vcpus: 0, memoryMib: 1, diskGib: 1 }, nodeId: 1, maxHourlyPrice: "1" })
    .then(() => assert.fail("it was not refused"), (e: unknown) => e);
  assert.ok(refused instanceof MarketplaceError);
  assert.equal(refused.reason, "INVALID_FIELD");
  assert.equal(refused.retryable, false);
  assert.deepEqual(refused.fields.map((f) => f.field).sort(), ["name", "spec.memoryMib", "spec.vcpus"]);
  assert.ok(refused.commandId);
  await assert.rejects(alice.call("cloud-operator/broadcast", { text: "x", severity: "SEVERITY_INFO" }), { reason: "ROLE_REQUIRED", code: 7 });
});

test("a request that is too large is not sent", async () => {
  await assert.rejects(alice.call("cloud-user/deployment-detail", { deploymentId: "x".repeat(70_000) }), { reason: "TOO_LARGE" });
  assert.equal(alice.state.name, "open");
});

test("a call can be given up", async () => {
  const given = new AbortController();
  const call = alice.call("cloud-user/get-account", {}, { signal: given.signal });
  given.abort(new Error("enough"));
  await assert.rejects(call, /enough/);
  await assert.rejects(alice.call("cloud-user/get-account", {}, { signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("many calls at once are all answered, though the server takes 64", async () => {
  const all = await Promise.all(Array.from({ length: 150 }, () => alice.call("cloud-user/list-deployments", {})));
  assert.equal(all.length, 150);
});

test("a client that was closed says so", async () => {
  const bob = server.client("bob");
  await bob.ready();
  const watch = bob.watch("cloud-user/watch-account", {});
  await watch.next();
  const last = watch.next();
  bob.close();
  await assert.rejects(last, ClosedError);
  await assert.rejects(bob.call("cloud-user/get-account", {}), ClosedError);
  assert.equal(bob.state.name, "closed");
});
