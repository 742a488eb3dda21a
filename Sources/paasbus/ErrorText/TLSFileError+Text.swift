import PaasbusRedis

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

extension Failure {
  /// - Parameter authority: the option or variable that names the file with authorities.
  init(_ error: TLSFileError, authority: String) {
    let path = error.path.map { " \($0)" } ?? ""
    self.init(
      .configuration, "\(error.name(authority: authority))\(path): \(error.what)",
      remedy: error.remedy)
  }
}

extension TLSFileError {
  /// The option or variable that names the file.
  fileprivate func name(authority: String) -> String {
    switch role {
    case .authority: authority
    case .certificate: "--tls-cert"
    case .key: "--tls-key"
    case .system(let variable): variable
    }
  }

  private var content: String {
    role == .key ? "private key" : "certificate"
  }

  fileprivate var what: String {
    switch fault {
    case .noFileName(let kind): "this is \(kind.rawValue), not a file name"
    case .missing: "no such file"
    case .unreadable(let number): "cannot be read (\(String(cString: strerror(number))))"
    case .silent: "nothing comes out of this pipe"
    case .empty: "the file is empty"
    case .tooLarge: "the file is larger than 16 MiB"
    case .byteOrderMark: "the file begins with a byte order mark (BOM)"
    case .binary: "the file is binary (DER or PKCS #12), not PEM"
    case .noPEM: "the file is not PEM"
    case .otherContent: "the file holds no \(content)"
    case .malformed:
      "the \(content) in this file cannot be read, or is of a kind that is not supported"
    case .protected: "the private key is protected by a passphrase"
    case .doesNotFit: "the private key does not fit the certificate"
    case .otherOrder: "the private key fits another certificate of the chain than the first"
    case .alone:
      role == .key
        ? "the certificate to this key is missing" : "the key to this certificate is missing"
    }
  }

  /// What to do about it.
  fileprivate var remedy: String {
    switch fault {
    case .noFileName(.url): "give the path of a file"
    case .noFileName: "write it into a file, and give the file's name"
    case .missing: "correct the path"
    case .unreadable: "check its permissions and that it is a file"
    case .silent, .empty, .tooLarge, .noPEM, .malformed: "give a PEM file with a \(content)"
    case .byteOrderMark: "save it as ASCII or as UTF-8 without the mark"
    case .binary: conversion
    case .otherContent: "give a PEM file with a \(content) (-----BEGIN …-----)"
    case .protected: "remove it with 'openssl pkey -in FILE -out NEWFILE'"
    case .doesNotFit: "give the key that the certificate was made with"
    case .otherOrder: "put the certificate of the key first in the file of --tls-cert"
    case .alone: role == .key ? "give it with --tls-cert" : "give it with --tls-key"
    }
  }

  private var conversion: String {
    let command = role == .key ? "pkey" : "x509"
    return "convert it with 'openssl \(command) -inform DER -in FILE -out NEWFILE', or a .pfx with "
      + "'openssl pkcs12 -in FILE -nodes -out NEWFILE'"
  }
}
