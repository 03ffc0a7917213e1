// SHA-256 and its keyed form, from OpenSSL's libcrypto. libmosquitto and libpq load that library anyway, so hashes cost
// a newcomer's first build nothing.

private import CCrypto

/// SHA-256 (FIPS 180-4).
package enum SHA256 {
  /// - Returns: 32 bytes.
  package static func digest(of bytes: [UInt8]) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: Int(SHA256_DIGEST_LENGTH)) { digest, count in
      _ = CCrypto.SHA256(bytes, bytes.count, digest.baseAddress)
      count = Int(SHA256_DIGEST_LENGTH)
    }
  }

  /// HMAC-SHA-256 (RFC 2104).
  /// - Parameter key: of any length.
  /// - Returns: 32 bytes.
  package static func code(for bytes: [UInt8], key: [UInt8]) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: Int(SHA256_DIGEST_LENGTH)) { code, count in
      var length = UInt32(0)
      _ = HMAC(EVP_sha256(), key, Int32(key.count), bytes, bytes.count, code.baseAddress, &length)
      count = Int(length)
    }
  }
}
