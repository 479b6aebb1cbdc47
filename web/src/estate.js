// The data of the page: states, and which database needs which.

export const KINDS = {
  problem: { sign: "✗", label: "with problems" },
  running: { sign: "▶", label: "running" },
  pending: { sign: "+", label: "pending" },
  ok: { sign: "✓", label: "up to date" },
};

export function kindOf(database) {
  if (database.problems.length || ["failed", "blocked"].includes(database.state)) return "problem";
  if (database.running) return "running";
  return ["up to date", "done"].includes(database.state) ? "ok" : "pending";
}

export function read(document) {
  const databases = document.databases.map((one, order) => ({ ...one, problems: [...one.problems, ...(one.failed ?? [])], order, kind: kindOf(one), neededBy: [] }));
  const byId = new Map(databases.map((one) => [one.id, one]));
  for (const one of databases) {
    one.depends_on = one.depends_on.filter((id) => byId.has(id));
    for (const id of one.depends_on) byId.get(id).neededBy.push(one.id);
    const done = one.attempts.filter((attempt) => attempt.done && attempt.started_at);
    one.last = done.reduce((last, attempt) => (attempt.started_at > last ? attempt.started_at : last), "");
    one.failedTries = one.attempts.filter((attempt) => !attempt.done).length;
    one.risks = one.migrations.reduce((sum, migration) => sum + (migration.risks?.length ?? 0), 0);
  }
  return { ...document, databases, byId };
}

export const linkOf = (id) => `#${encodeURIComponent(id)}`;
export const place = (one) => [one.endpoint, one.database].filter(Boolean).join("/");

/** Return `one (x) · two` for what has problems: the first sentence of each. */
export const told = (one) => one.problems[0]?.what ?? "";
