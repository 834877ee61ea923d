package pki

import (
	"encoding/pem"
	"os"

	"dhow.dev/dhow/internal/fsx"
	"dhow.dev/dhow/proto/spec"
)

const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
)

// bundle is what one of our PEM files holds. Certificates and their key share a
// file, so that one rename replaces both.
type bundle struct {
	certs [][]byte
	key   []byte
}

func readPEM(path string) (bundle, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return bundle{}, fsx.Explain(err)
	}
	b, err := decodePEM(data)
	if err != nil {
		return bundle{}, spec.Errorf(spec.CodeInvalid, "%s: %w", path, err)
	}
	return b, nil
}

func decodePEM(data []byte) (bundle, error) {
	var b bundle
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		switch {
		case block.Type == certBlock:
			b.certs = append(b.certs, block.Bytes)
		case block.Type == keyBlock && b.key == nil:
			b.key = block.Bytes
		default:
			return bundle{}, spec.Errorf(spec.CodeInvalid, "an unexpected PEM block %q", block.Type)
		}
	}
	if len(b.certs) == 0 {
		return bundle{}, spec.Errorf(spec.CodeInvalid, "no certificate in PEM form")
	}
	return b, nil
}

func writePEM(path string, b bundle) error {
	var out []byte
	for _, c := range b.certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: c})...)
	}
	if b.key != nil {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: b.key})...)
	}
	return fsx.WriteFile(path, out, 0o600)
}

// EncodeCert is a certificate in PEM form, as context files and curl take it.
func EncodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der})
}

// DecodeCert reads one certificate in PEM form and gives it back as DER.
func DecodeCert(data []byte) ([]byte, error) {
	b, err := decodePEM(data)
	if err != nil {
		return nil, err
	}
	if len(b.certs) != 1 {
		return nil, spec.Errorf(spec.CodeInvalid, "%d certificates, want one", len(b.certs))
	}
	return b.certs[0], nil
}
