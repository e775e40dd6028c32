package web

import (
	"context"
	"net"
	"os"
	"os/user"
	"strconv"
)

// unknownPeer is the actor when the system does not tell who connected.
const unknownPeer = "unknown@socket"

type peerKey struct{}

// withPeer is an http.Server's ConnContext: it asks the kernel once per
// connection who is at the other end.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	unix, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	uid, err := peerUID(unix)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, userName(uid))
}

// peerOf names whoever sent the request: "anna@host".
func peerOf(ctx context.Context) string {
	if name, ok := ctx.Value(peerKey{}).(string); ok {
		return name
	}
	return unknownPeer
}

func userName(uid uint32) string {
	name := "uid" + strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return name + "@" + host
}
