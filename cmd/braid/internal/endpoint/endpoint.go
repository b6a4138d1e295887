// Package endpoint makes the two ends of a connection, over TCP or TLS.
package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// dialPatience is how long a connection may take to come about, handshake
// included.
const dialPatience = 10 * time.Second

// Certificate names the files that a server proves itself with. Without any, it
// speaks plain TCP.
type Certificate struct {
	CertFile, KeyFile string
}

// Listen listens on a TCP address.
func Listen(ctx context.Context, addr string, cert Certificate) (net.Listener, error) {
	var config *tls.Config
	if cert != (Certificate{}) {
		pair, err := tls.LoadX509KeyPair(cert.CertFile, cert.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cannot use the certificate %s with the key %s: %w",
				cert.CertFile, cert.KeyFile, err)
		}
		config = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	var lc net.ListenConfig
	lis, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", addr, cause(err))
	}
	if config != nil {
		return tls.NewListener(lis, config), nil
	}
	return lis, nil
}

// Trust says how a client makes sure that the server is the right one. Without
// a file, it speaks plain TCP.
type Trust struct {
	CAFile     string
	ServerName string // if it is not the host of the address
}

// Dial connects to a TCP address. If there is to be TLS, its handshake is done
// when Dial returns, so that an untrusted server is found out here.
func Dial(ctx context.Context, addr string, trust Trust) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, dialPatience,
		fmt.Errorf("no connection within %v", dialPatience))
	defer cancel()
	var conn net.Conn
	var err error
	if trust.CAFile == "" {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
	} else {
		conn, err = dialTLS(ctx, addr, trust)
	}
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = context.Cause(ctx)
	}
	return nil, fmt.Errorf("cannot connect to %s: %w", addr, cause(err))
}

func dialTLS(ctx context.Context, addr string, trust Trust) (net.Conn, error) {
	pem, err := os.ReadFile(trust.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s contains no certificate in PEM form", trust.CAFile)
	}
	// An empty name makes the dialer take the host of the address.
	d := tls.Dialer{Config: &tls.Config{
		RootCAs: pool, ServerName: trust.ServerName, MinVersion: tls.VersionTLS12,
	}}
	conn, err := d.DialContext(ctx, "tcp", addr)
	var op *net.OpError
	if err != nil && ctx.Err() == nil && (errors.Is(err, io.EOF) || errors.As(err, new(tls.RecordHeaderError)) ||
		errors.As(err, &op) && op.Op == "read") {
		return nil, fmt.Errorf("the handshake failed (%w): does the server speak TLS?", cause(err))
	}
	return conn, err
}

// Describe names a connection for people.
func Describe(conn net.Conn) string {
	return fmt.Sprintf("one, %s to %s, %s", conn.LocalAddr(), conn.RemoteAddr(), Protocol(conn))
}

// Protocol names what a connection speaks: TCP, or a version of TLS.
func Protocol(conn net.Conn) string {
	if c, ok := conn.(*tls.Conn); ok {
		return tls.VersionName(c.ConnectionState().Version)
	}
	return "TCP"
}

// cause drops the words of net that repeat the address.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
