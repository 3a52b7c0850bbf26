package redisstore

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

// The scripts. Each is one step: nobody sees half of it.
var (
	//go:embed lua/commit.lua
	commitText string
	//go:embed lua/append.lua
	appendText string
	//go:embed lua/due.lua
	dueText string
	//go:embed lua/advance.lua
	advanceText string
	//go:embed lua/lease.lua
	leaseText string
	//go:embed lua/halt.lua
	haltText string
	//go:embed lua/clear.lua
	clearText string
	//go:embed lua/swapkey.lua
	swapKeyText string
	//go:embed lua/replace.lua
	replaceText string
	//go:embed lua/trim.lua
	trimText string
	//go:embed lua/fillitem.lua
	fillItemText string
	//go:embed lua/restored.lua
	restoredText string
	//go:embed lua/read.lua
	readText string

	commitScript   = redis.NewScript(commitText)
	appendScript   = redis.NewScript(appendText)
	dueScript      = redis.NewScript(dueText)
	advanceScript  = redis.NewScript(advanceText)
	leaseScript    = redis.NewScript(leaseText)
	haltScript     = redis.NewScript(haltText)
	clearScript    = redis.NewScript(clearText)
	swapKeyScript  = redis.NewScript(swapKeyText)
	replaceScript  = redis.NewScript(replaceText)
	trimScript     = redis.NewScript(trimText)
	readScript     = redis.NewScript(readText)
	restoredScript = redis.NewScript(restoredText)
)
