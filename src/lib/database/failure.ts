import { UnavailableError } from '../task/errors.js'

/** A commit that failed without saying whether it is written: to run its work again might do it twice. */
export class CommitUnknownError extends UnavailableError {}
