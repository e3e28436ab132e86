// What the ethers and viem scripts share: arguments, artifacts, one JSON line per step, and the naming of refusals.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const [http, ws] = process.argv.slice(2)
export const key = process.env.PLAIT_CLIENT_KEY
export const emptyAccount = '0xe0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0'
export const emptyBalanceAccount = '0xe1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1'

const folder = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'plait', 'rollups', 'artifacts')
export const load = (name) => JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8'))

export function emit(step, value) {
  process.stdout.write(`${JSON.stringify({ step, value: value ?? 'undefined' })}\n`)
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

const canonical = [
  'nonce too low', 'insufficient funds', 'replacement transaction underpriced', 'intrinsic gas too low',
  'invalid chain id', 'invalid sender', 'method not found', 'not exist/is not available',
]
const synonyms = { 'not exist/is not available': 'method not found', 'invalid sender': 'invalid chain id' }

// The part of an error's text that every client must pass on. A library may say it in its own words and keep the server's
// words in a field; both are looked through.
export function classify(error) {
  const texts = []
  for (let e = error, depth = 0; e && depth < 6; e = e.cause ?? e.error ?? e.info?.error, depth++) {
    texts.push(e.details, e.message, e.shortMessage, e.info?.error?.message)
  }
  const text = texts.filter(Boolean).join(' | ').toLowerCase()
  const fragment = canonical.find((item) => text.includes(item))
  return fragment ? (synonyms[fragment] ?? fragment) : `unrecognised: ${text.slice(0, 300)}`
}

export async function refused(action) {
  try {
    await action()
    return 'accepted'
  } catch (error) {
    return classify(error)
  }
}

// Fails instead of waiting for ever.
export const within = (promise, ms, what) =>
  Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error(`${what}: no answer in ${ms} ms`)), ms).unref())])
