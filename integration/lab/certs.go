package lab

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

// WriteCertificate writes a certificate with its chain, and its key, as PEM.
func WriteCertificate(certFile, keyFile string, cert tls.Certificate) error {
	var chain []byte
	for _, der := range cert.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return fmt.Errorf("write the key %s: %w", keyFile, err)
	}
	if err := os.WriteFile(certFile, chain, 0o600); err != nil {
		return fmt.Errorf("write a certificate: %w", err)
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600); err != nil {
		return fmt.Errorf("write a key: %w", err)
	}
	return nil
}

// WriteRoot writes the certificate of a CA as PEM.
func WriteRoot(file string, root *x509.Certificate) error {
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return fmt.Errorf("write the certificate of a CA: %w", err)
	}
	return nil
}
