// A CA and a broker certificate for 127.0.0.1 and localhost, made by the openssl command; valid for two days.

package struct Certificates: Sendable {
  package let caFile: String
  package let certificateFile: String
  package let keyFile: String

  /// Makes the files in `folder`; names that start with `prefix` keep two authorities apart.
  package init(in folder: TemporaryFolder, prefix: String = "") throws {
    caFile = folder.file("\(prefix)ca.pem")
    certificateFile = folder.file("\(prefix)broker.pem")
    keyFile = folder.file("\(prefix)broker.key")
    let caKey = folder.file("\(prefix)ca.key")
    let request = folder.file("\(prefix)broker.csr")
    let names = try folder.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n", to: "\(prefix)names.cnf")
    let newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    try ChildProcess.run(
      "openssl",
      ["req", "-x509"] + newKey + ["-keyout", caKey, "-out", caFile, "-subj", "/CN=Drover test CA", "-days", "2"])
    try ChildProcess.run(
      "openssl", ["req"] + newKey + ["-keyout", keyFile, "-out", request, "-subj", "/CN=localhost"])
    try ChildProcess.run(
      "openssl",
      [
        "x509", "-req", "-in", request, "-CA", caFile, "-CAkey", caKey, "-CAcreateserial", "-out", certificateFile,
        "-days", "2", "-extfile", names,
      ])
  }
}
