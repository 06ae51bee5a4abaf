import { setTimeout as sleep } from 'node:timers/promises'
import type { Knex } from 'knex'
import { CommitUnknownError } from './failure.js'

/** How often something is done again that gave way to another commit, or whose connection was gone. */
export const TRIES = 10

/** How one kind of server fails, and what is done with a connection of it that did. */
interface Failures<Client> {
  readonly isLost: (error: unknown) => boolean
  /** In words that a person can act on. */
  readonly describe: (error: unknown, name: string) => unknown
  /** Has the pool not hand it out again. */
  readonly discard: (client: Client, error: unknown) => void
}

/** The connections of one program to a server, and what becomes of their failures. */
export class Server<Client> {
  /** @param name the database as a person knows it */
  constructor(
    private readonly knex: Knex,
    private readonly name: string,
    private readonly failures: Failures<Client>,
  ) {}

  /** Has a connection of the pool to itself. */
  async connected<T>(use: (client: Client) => Promise<T>): Promise<T> {
    const client = (await this.knex.client.acquireConnection()) as Client
    try {
      return await use(client)
    } catch (error) {
      if (this.failures.isLost(error) || error instanceof CommitUnknownError) this.failures.discard(client, error)
      throw error
    } finally {
      await this.knex.client.releaseConnection(client)
    }
  }

  /** Does again what failed before anything was written, for a reason that may pass. */
  async repeated<T>(use: () => Promise<T>, again: (error: unknown, tries: number) => boolean): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await use()
      } catch (error) {
        if (error instanceof CommitUnknownError || !again(error, tries)) throw this.failures.describe(error, this.name)
        await sleep(Math.random() * Math.min(200, 5 * 2 ** tries))
      }
    }
  }

  /** A read changes nothing, so one that lost its connection is simply asked again. */
  read<T>(use: (client: Client) => Promise<T>): Promise<T> {
    return this.repeated(
      () => this.connected(use),
      (error, tries) => tries < TRIES && this.failures.isLost(error),
    )
  }

  /** @throws {CommitUnknownError} when the connection is lost before the answer came */
  async committed<T>(commit: () => Promise<T>): Promise<T> {
    try {
      return await commit()
    } catch (error) {
      if (!this.failures.isLost(error)) throw error
      const why = error instanceof Error ? error.message : String(error)
      throw new CommitUnknownError(`the database ${this.name} was lost during a commit, which is written or not: ${why}`, { cause: error })
    }
  }
}
