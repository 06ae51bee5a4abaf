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
  if (database.dialect.name === 'mysql') {
    const when_ = when.replace(/ OF .*/, '')
    await database.run(`CREATE TRIGGER ${name} ${when_} ON ${table} FOR EACH ROW IF ${condition} THEN ${action}; END IF`, [])
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
  return trigger(database, { ...what, action: RAISE[database.dialect.name] })
}

const RAISE = {
  sqlite: "SELECT RAISE(ABORT, 'the disk is full')",
  postgres: "RAISE EXCEPTION 'the disk is full'",
  mysql: "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'the disk is full'",
}

/** Takes a trigger back. */
export async function allow(database: Database, name: string, table: string): Promise<void> {
  await database.run(database.dialect.name === 'postgres' ? `DROP TRIGGER ${name} ON ${table}` : `DROP TRIGGER ${name}`, [])
}
