package redisstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/threefoldtech/cloud-marketplace/internal/redistest"
	backupv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/backup/v1"
	"github.com/threefoldtech/cloud-marketplace/persistence/redisstore"
	"github.com/threefoldtech/cloud-marketplace/persistence/storetest"
)

// certificate writes a self-signed certificate of this machine and its key.
func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	model := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, model, model, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(cert)
	return certFile, keyFile, pool
}

// TestTLSAndUser works as a user who may do no more than a store needs, over TLS
// with certificates on both sides.
func TestTLSAndUser(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	redistest.Start(t, "--tls-port", strconv.Itoa(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert,
		"--user", "default", "off",
		"--user", "market", "on", ">secret", "~{market}:*", "+@all", "-@dangerous", "+info", "+config|get", "+sync", "+bgrewriteaof")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	options := func() *redis.Options {
		return &redis.Options{
			Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Username: "market", Password: "secret",
			TLSConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		}
	}
	s, err := redisstore.Open(t.Context(), redisstore.Options{Redis: options()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	w := storetest.NewWorkload(20)
	for range 5 {
		w.Step(t.Context(), s)
	}
	verify(t, w, s, false)
	parts := 0
	if err := s.Dump(t.Context(), func(*backupv1.Part) error { parts++; return nil }); err != nil || parts < 40 {
		t.Errorf("a dump of %d parts: %v", parts, err)
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Error(err)
	}
	wrong := options()
	wrong.TLSConfig.RootCAs = x509.NewCertPool()
	if err := redis.NewClient(wrong).Ping(t.Context()).Err(); err == nil {
		t.Error("a server of unknown origin was believed")
	}
}
