package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its own certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, writePEM(t, "ca.pem", "CERTIFICATE", der)}
}

// issue makes a certificate for a name or for the loopback address.
func (a *authority) issue(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if name == "" {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, "cert.pem", "CERTIFICATE", der), writePEM(t, "key.pem", "PRIVATE KEY", pkcs8)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCopyToServeOverTLS(t *testing.T) {
	dir, files := makeTree(t)
	into := t.TempDir()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "")
	server, addr := serve(t, "--into", into, "--tls-cert", cert, "--tls-key", key)
	braid(t, "copy", "--tls-ca", ca.file, "--callers", "10", "--cancels", "3", dir, addr).
		expect(t, 0, "to "+addr+", TLS 1.3\n", " 3 of 3 canceled uploads")
	stop(t, server).expect(t, 0)
	compareTree(t, into, files)
}

func TestTheNameInTheCertificateCounts(t *testing.T) {
	into := t.TempDir()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "files.test")
	server, addr := serve(t, "--into", into, "--tls-cert", cert, "--tls-key", key)
	dir := oneFile(t)
	braid(t, "copy", "--tls-ca", ca.file, dir, addr).expect(t, 1, "cannot connect to "+addr, "certificate")
	compareTree(t, into, nil)
	braid(t, "copy", "--tls-ca", ca.file, "--tls-server-name", "files.test", dir, addr).expect(t, 0)
	stop(t, server).expect(t, 0, "stored 1 files")
}

func TestAnUntrustedServerGetsNothing(t *testing.T) {
	into := t.TempDir()
	cert, key := newAuthority(t).issue(t, "")
	server, addr := serve(t, "--into", into, "--tls-cert", cert, "--tls-key", key)
	dir := oneFile(t)
	braid(t, "copy", "--tls-ca", newAuthority(t).file, dir, addr).
		expect(t, 1, "cannot connect to "+addr, "certificate signed by unknown authority")
	// One that is not spoken to in TLS cannot understand a word.
	braid(t, "copy", dir, addr).expect(t, 1, "braid: ")
	stop(t, server).expect(t, 0, "stored 0 files")
	compareTree(t, into, nil)
}

func TestTLSToAServerWithoutIsAnError(t *testing.T) {
	server, addr := serve(t, "--into", t.TempDir())
	braid(t, "copy", "--tls-ca", newAuthority(t).file, oneFile(t), addr).expect(t, 1, "cannot connect to "+addr)
	stop(t, server).expect(t, 0)
}

func TestAKeyOfAnotherCertificateIsAnError(t *testing.T) {
	ca := newAuthority(t)
	cert, _ := ca.issue(t, "")
	_, key := ca.issue(t, "")
	braid(t, "serve", "--listen", "127.0.0.1:0", "--into", t.TempDir(), "--tls-cert", cert, "--tls-key", key).
		expect(t, 1, "cannot use the certificate "+cert)
}
