package pki

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Blocks of PEM files.
const (
	blockCertificate = "CERTIFICATE"
	blockKey         = "PRIVATE KEY"
	blockRequest     = "CERTIFICATE REQUEST"
)

// write puts data into a file of its own that is whole or not there. Where
// replace is false, one that is there stays and the error is fs.ErrExist.
func write(path string, data []byte, replace bool) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if gone := os.Remove(f.Name()); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if replace {
		err = os.Rename(f.Name(), path)
	} else {
		err = os.Link(f.Name(), path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// bundle is a key with its certificates as one PEM text.
func bundle(key crypto.Signer, chain ...[]byte) ([]byte, error) {
	var text []byte
	if key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, fmt.Errorf("write a key: %w", err)
		}
		text = pem.EncodeToMemory(&pem.Block{Type: blockKey, Bytes: der})
	}
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: blockCertificate, Bytes: der})...)
	}
	return text, nil
}

// open takes a PEM text apart: the certificates in order, and the key if one is
// there that can be read.
func open(text []byte) (key crypto.Signer, chain []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		switch block.Type {
		case blockCertificate:
			c, parseErr := x509.ParseCertificate(block.Bytes)
			if parseErr != nil {
				err = errors.Join(err, parseErr)
				continue
			}
			chain = append(chain, c)
		case blockKey:
			any, parseErr := x509.ParsePKCS8PrivateKey(block.Bytes)
			if parseErr != nil {
				err = errors.Join(err, errors.New("the private key cannot be read")) // nothing of it is repeated
				continue
			}
			if signer, ok := any.(crypto.Signer); ok {
				key = signer
			}
		}
	}
	if len(chain) == 0 {
		err = errors.Join(err, errors.New("expected a certificate in PEM, found none"))
	}
	return key, chain, err
}

// readCertificates reads the certificates of a PEM file.
func readCertificates(path string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	_, chain, err := open(text)
	if err != nil {
		return chain, fmt.Errorf("%s: %w", path, err)
	}
	return chain, nil
}

// CheckAuthorities tells what is wrong with a PEM file of authorities.
func CheckAuthorities(path string) error {
	_, err := readCertificates(path)
	return err
}
