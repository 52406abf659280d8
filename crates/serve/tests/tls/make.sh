#!/bin/sh
# Makes the certificate and key of the TLS tests: for localhost, signed by itself, good for a century. The key protects
# nothing. Made with OpenSSL 3.
set -e
cd "$(dirname "$0")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj /CN=localhost \
  -addext 'subjectAltName=DNS:localhost' -addext 'basicConstraints=critical,CA:FALSE' -keyout key.pem -out cert.pem
