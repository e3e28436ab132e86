// Signs typed data with ethers and with viem: one JSON array of documents on standard input, one line per document
// with both signatures on standard output. Started by tests/e2e/test_wallet_actions.py.
import { readFileSync } from 'node:fs'
import { Wallet } from 'ethers'
import { privateKeyToAccount } from 'viem/accounts'

const { key, documents } = JSON.parse(readFileSync(0, 'utf8'))
const wallet = new Wallet(key)
const account = privateKeyToAccount(key)

for (const document of documents) {
  const { EIP712Domain, ...types } = document.types
  const ethers = await wallet.signTypedData(document.domain, types, document.message)
  const viem = await account.signTypedData(document)
  console.log(JSON.stringify({ ethers, viem }))
}
