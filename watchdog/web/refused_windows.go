package web

import "golang.org/x/sys/windows"

// errRefused is what connecting to a socket that nobody serves gives.
const errRefused = windows.WSAECONNREFUSED
