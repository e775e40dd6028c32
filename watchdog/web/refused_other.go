//go:build !windows

package web

import "syscall"

// errRefused is what connecting to a socket that nobody serves gives.
const errRefused = syscall.ECONNREFUSED
