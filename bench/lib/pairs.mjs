/**
 * One line of the table: what was measured on both sides, their ratio, and what it must be.
 *
 * @typedef {{ name: string, unit: string, ours: number, raw: number | null, ratio: number | null, target: string, ok: boolean }} Line
 */

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}

/** Measures all sides in turn, `rounds` times after one that does not count, so that a slow minute meets all of them. */
export async function inTurns(rounds, sides) {
  const measured = Object.fromEntries(Object.keys(sides).map((side) => [side, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const [side, measure] of Object.entries(sides)) {
      const one = await measure(round)
      if (round > 0) measured[side].push(one)
    }
  }
  return measured
}

/** Two of those sides. */
export const sideBySide = (ours, raw) => ({ ours: median(ours), raw: median(raw), ratio: median(ours.map((one, i) => one / raw[i])) })

/** The same where there are no others. */
export async function pairs(rounds, ours, raw) {
  const measured = await inTurns(rounds, { ours, raw })
  return sideBySide(measured.ours, measured.raw)
}

/** @returns {Line} */
export function atLeast(name, unit, measured, target) {
  return { name, unit, ...measured, target: target === null ? '' : `>= ${target}`, ok: target === null || measured.ratio >= target }
}

/** Prints lines as a table, or as JSON for run.mjs, and lets a missed target be this process's failure. */
export function report(lines, json = process.argv.includes('--json')) {
  if (json) console.log(JSON.stringify(lines))
  else console.log(tableOf(lines))
  if (lines.some((line) => !line.ok)) process.exitCode = 1
}

function tableOf(lines) {
  const rows = [['case', 'ours', 'raw', 'ratio', 'target', '']]
  for (const { name, unit, ours, raw, ratio, target, ok } of lines) {
    rows.push([
      name,
      shown(ours, unit),
      raw === null ? '' : shown(raw, unit),
      ratio === null ? '' : ratio.toPrecision(2),
      target,
      ok ? 'ok' : 'MISSED',
    ])
  }
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)))
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i === 0 || i > 3 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

const shown = (number, unit) => `${number >= 100 ? Math.round(number).toLocaleString('en') : number.toFixed(2)} ${unit}`
