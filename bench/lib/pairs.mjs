/**
 * One line of the table: what was measured on both sides, their ratio, and what it must be.
 *
 * @typedef {{ name: string, unit: string, ours: number, raw: number | null, ratio: number | null, target: string, ok: boolean }} Line
 */

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b)
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}

/** Measures both sides in turn, `rounds` times after one that does not count, so that a slow minute meets both. */
export async function pairs(rounds, ours, raw) {
  const measured = []
  for (let round = 0; round <= rounds; round++) {
    const pair = { ours: await ours(round), raw: await raw(round) }
    if (round > 0) measured.push(pair)
  }
  return {
    ours: median(measured.map((pair) => pair.ours)),
    raw: median(measured.map((pair) => pair.raw)),
    ratio: median(measured.map((pair) => pair.ours / pair.raw)),
  }
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
