package rig

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"sync"
	"time"
)

// serverName is whom the certificate is for.
const serverName = "bench.invalid"

// configs returns the configurations of the two ends, with a certificate that is
// made when it is first wanted and never leaves the memory.
var configs = sync.OnceValues(func() (*tlsConfigs, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: serverName},
		DNSNames:     []string{serverName},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tlsConfigs{
		server: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}},
		},
		client: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: serverName},
	}, nil
})

type tlsConfigs struct{ server, client *tls.Config }

// tlsConn is a connection over TLS that nobody takes for one: net/http would look
// for what the handshakes have agreed on there, and refuse HTTP/2 as nothing is.
// Who wants the connection below to set its options can have it.
type tlsConn struct {
	net.Conn
	raw net.Conn
}

// NetConn returns the connection below, as that of a *tls.Conn does.
func (c tlsConn) NetConn() net.Conn { return c.raw }

// serverTLS returns the server's end. The handshake is made with the first use.
func serverTLS(raw net.Conn) (net.Conn, error) {
	c, err := configs()
	if err != nil {
		return nil, err
	}
	return tlsConn{tls.Server(raw, c.server), raw}, nil
}

// clientTLS returns the client's end, after the handshake.
func clientTLS(ctx context.Context, raw net.Conn) (net.Conn, error) {
	c, err := configs()
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, c.client)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return tlsConn{conn, raw}, nil
}
