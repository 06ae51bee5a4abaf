import type { Knex } from 'knex'

export declare const MIGRATIONS: Readonly<Record<string, Knex.Migration>>
