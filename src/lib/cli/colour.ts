import type { Environment } from '../app/setting-sources.js'

interface Screen {
  readonly isTTY?: boolean
}

/**
 * Whether to colour what goes to `stream`. The first that speaks decides: `--no-color`, FORCE_COLOR, NO_COLOR,
 * CLICOLOR_FORCE, TERM=dumb, and last whether `stream` is a terminal.
 */
export function wantsColour(stream: Screen, env: Environment, noColor: boolean): boolean {
  if (noColor) return false
  if (env['FORCE_COLOR']) return env['FORCE_COLOR'] !== '0' && env['FORCE_COLOR'] !== 'false'
  if (env['NO_COLOR']) return false
  if (env['CLICOLOR_FORCE'] && env['CLICOLOR_FORCE'] !== '0') return true
  if (env['TERM'] === 'dumb') return false
  return stream.isTTY === true
}
