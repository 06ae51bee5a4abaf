import type { Database } from '../../src/lib/database/database.js'

/** Something that a ledger does by itself on each change of a row. */
export interface Trigger {
  readonly name: string
  readonly when: string
  readonly table: string
  /** On OLD and NEW. Default: each row. */
  readonly condition?: string
}

/** Has the ledger do `action` then. */
export async function trigger(
  database: Database,
  { name, when, table, condition = 'TRUE', action }: Trigger & { readonly action: string },
): Promise<void> {
  if (database.dialect.name === 'sqlite') {
    await database.run(`CREATE TRIGGER ${name} ${when} ON ${table} WHEN ${condition} BEGIN ${action}; END`, [])
    return
  }
  await database.run(
    `CREATE FUNCTION ${name}_action() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN ${action}; RETURN NEW; END $body$`,
    [],
  )
  await database.run(`CREATE TRIGGER ${name} ${when} ON ${table} FOR EACH ROW WHEN (${condition}) EXECUTE FUNCTION ${name}_action()`, [])
}

/** Has the ledger fail such a change as a full disk would. */
export function refuse(database: Database, what: Trigger): Promise<void> {
  const raise = database.dialect.name === 'sqlite' ? "SELECT RAISE(ABORT, 'the disk is full')" : "RAISE EXCEPTION 'the disk is full'"
  return trigger(database, { ...what, action: raise })
}

/** Takes a trigger back. */
export async function allow(database: Database, name: string, table: string): Promise<void> {
  await database.run(database.dialect.name === 'sqlite' ? `DROP TRIGGER ${name}` : `DROP TRIGGER ${name} ON ${table}`, [])
}
