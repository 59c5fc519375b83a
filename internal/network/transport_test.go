package network

import (
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAStalledConnectionBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		go func() {
			for range 5 { // slow, but moving
				time.Sleep(stallTimeout - time.Second)
				_, _ = far.Write([]byte("x"))
			}
		}()
		_, err := io.ReadFull(stallGuard{near}, make([]byte, 5))
		require.NoError(t, err)
		began := time.Now()
		_, err = stallGuard{near}.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, stallTimeout, time.Since(began))
		_, err = stallGuard{near}.Write([]byte("nobody reads this"))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

func TestALongUploadDoesNotBreakTheWaitForItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		go func() {
			body := make([]byte, 1)
			for range 5 {
				time.Sleep(stallTimeout - time.Second)
				_, _ = far.Read(body)
			}
			_, _ = far.Write([]byte("done"))
		}()
		answered := make(chan error)
		go func() {
			_, err := io.ReadFull(stallGuard{near}, make([]byte, 4))
			answered <- err
		}()
		for range 5 {
			_, err := stallGuard{near}.Write([]byte("x"))
			require.NoError(t, err)
		}
		require.NoError(t, <-answered)
	})
}

func TestConnectionsAreGuarded(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	transport := NewTransport()
	conn, err := transport.DialContext(t.Context(), "tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.IsType(t, stallGuard{}, conn)
	require.GreaterOrEqual(t, transport.MaxIdleConnsPerHost, 64)
	require.Less(t, transport.ResponseHeaderTimeout, stallTimeout)
}
