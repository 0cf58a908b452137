import { X509Certificate, createHash } from 'node:crypto';

// children splits a DER element into the elements in it.
function children(der) {
  const parts = [];
  for (let at = header(der, 0).start; at < der.length;) {
    const { start, end } = header(der, at);
    parts.push({ whole: der.subarray(at, end), content: der.subarray(start, end) });
    at = end;
  }
  return parts;
}

function header(der, at) {
  let length = der[at + 1], start = at + 2;
  if (length & 0x80) {
    const bytes = length & 0x7f;
    length = der.readUIntBE(start, bytes);
    start += bytes;
  }
  return { start, end: start + length };
}

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');

// hashOf names a certificate as OCPP does (RFC 6960 §4.1.1): hashes of the name
// and the key of its issuer, which for a root is itself, and its serial number.
export function hashOf(pem) {
  const certificate = new X509Certificate(pem);
  const [tbs] = children(certificate.raw);
  const fields = children(tbs.whole).filter(({ whole }) => whole[0] !== 0xa0);
  const [serial, , issuer, , , key] = fields;
  const [, bits] = children(key.whole);
  return {
    hashAlgorithm: 'SHA256',
    issuerNameHash: sha256(issuer.whole),
    issuerKeyHash: sha256(bits.content.subarray(1)), // without the count of unused bits
    serialNumber: serial.content.toString('hex').replace(/^0+/, ''),
  };
}
