/** An error whose message is meant for a person: what was expected, what came. `hint` says what to do. */
export class PlainError extends Error {
  /** What the process exits with when a command ends in this error. */
  readonly exitCode: number = 1
  readonly hint: string | undefined

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.name = new.target.name
    this.hint = options.hint
  }
}

/** A value given by the caller or on the command line is not what was expected. */
export class UsageError extends PlainError {
  override readonly exitCode = 2
}

/** The database or the broker could not be reached. */
export class UnavailableError extends PlainError {
  override readonly exitCode = 69
}

/** Somebody else holds what is needed; the same call may succeed later. */
export class BusyError extends PlainError {
  override readonly exitCode = 75
}

/** A setting, a file it names or the schema of the database is wrong. */
export class ConfigurationError extends PlainError {
  override readonly exitCode = 78
}
