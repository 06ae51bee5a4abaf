import { BusyError, ConfigurationError, UnavailableError } from '../task/errors.js'

/** SQLite's result code, for example `SQLITE_BUSY_SNAPSHOT`; empty for any other error. */
function sqliteCode(error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : ''
  return typeof code === 'string' && code.startsWith('SQLITE_') ? code : ''
}

export const isBusy = (error: unknown): boolean => /^SQLITE_(BUSY|LOCKED)/.test(sqliteCode(error))

export const readOnly = (filename: string, cause?: unknown): ConfigurationError =>
  new ConfigurationError(`the database ${filename} cannot be written: the file or its folder is read-only`, {
    cause,
    hint: 'give this user write access to the file and its folder',
  })

/**
 * The same failure in words for the person who runs the program, or `error` itself when it is none of the
 * surroundings' (a bug, a constraint). Never holds a bound value.
 */
export function describeSqliteFailure(error: unknown, filename: string): unknown {
  const code = sqliteCode(error)
  const options = { cause: error }
  if (isBusy(error)) {
    return new BusyError(`the database ${filename} is locked by another process`, { ...options, hint: 'run it again in a moment' })
  }
  if (error instanceof Error && error.name === 'KnexTimeoutError') {
    return new BusyError(`a transaction of this process holds the connection to ${filename}`, {
      ...options,
      hint: 'publish inside it with { trx }',
    })
  }
  if (code.startsWith('SQLITE_READONLY')) return readOnly(filename, error)
  if (code.startsWith('SQLITE_CANTOPEN')) {
    return new ConfigurationError(`the database ${filename} cannot be opened`, {
      ...options,
      hint: 'check that the folder exists and that this user may read and write it',
    })
  }
  if (code === 'SQLITE_NOTADB') {
    return new ConfigurationError(`${filename} is not a SQLite database`, {
      ...options,
      hint: 'check the database setting: it names another file',
    })
  }
  if (code.startsWith('SQLITE_CORRUPT')) {
    return new UnavailableError(`the database ${filename} failed: ${error instanceof Error ? error.message : code}`, {
      ...options,
      hint: 'restore it from a backup, or save what can be read with: sqlite3 FILE .recover',
    })
  }
  if (/^SQLITE_(FULL|IOERR|NOMEM|PROTOCOL)/.test(code)) {
    return new UnavailableError(`the database ${filename} failed: ${error instanceof Error ? error.message : code}`, options)
  }
  return error
}
