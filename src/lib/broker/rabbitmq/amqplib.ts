import type * as Amqplib from 'amqplib'
import { ConfigurationError } from '../../task/errors.js'

/** @throws {ConfigurationError} when the package is not installed */
export async function loadAmqplib(): Promise<typeof Amqplib> {
  try {
    return await import('amqplib')
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && /MODULE_NOT_FOUND$/.test(String(cause.code)))) throw cause
    throw new ConfigurationError('a broker of amqp:// needs the package amqplib, which is not installed', {
      cause,
      hint: 'npm install amqplib',
    })
  }
}
