package main

const (
	commitGo  = "actors/entity/commit.go"
	entityGo  = "actors/entity/entity.go"
	requestGo = "actors/entity/request.go"
	memoryGo  = "actors/entity/memory.go"
	watchGo   = "actors/entity/watch.go"
	listGo    = "actors/entity/list.go"
	taskGo    = "actors/entity/task.go"
	lanesGo   = "actors/entity/lanes.go"
	foldGo    = "actors/entity/fold.go"
	callGo    = "actors/engine/call.go"

	subscriptionGo = "persistence/subscription.go"
)

var mutants = []mutant{
	{
		"an answer waits for the commit that makes it true", requestGo,
		"	if b := e.youngest(); b != nil {\n", "	if b := e.youngest(); b != nil && r.GetPayload() == nil {\n",
	},
	{
		"a refusal that saw uncommitted state waits too", requestGo,
		"	e.answer(ctx, from, &clusterv1.Response{Call: req.GetCall(), Error: messages.AsError(err).Status()})", "	e.send(ctx, from, &clusterv1.Response{Call: req.GetCall(), Error: messages.AsError(err).Status()})",
	},
	{
		"the gate is bounded", requestGo,
		"	if e.held() >= e.rt.GateLimit {", "	if false {",
	},
	{
		"commands decided meanwhile join the next commit", commitGo,
		"	if e.flight == nil && e.next != nil {", "	if e.next != nil {",
	},
	{
		"an equal commit id is our own earlier success", "persistence/memstore/data.go",
		"	if r.commitID == c.ID {", "	if false {",
	},
	{
		"a repeated commit is answered before its version is looked at", "persistence/boltstore/commit.go",
		"	if string(old.commit) == m.ID {", "	if string(old.commit) == m.ID && old.version == m.Expect {",
	},
	{
		"tasks are taken when a batch is sealed", commitGo,
		"	e.reconcile(ctx, b.tasks, b.number)", "	e.reconcile(ctx, e.machine.tasks(), b.number)",
	},
	{
		"a batch is released before the next is sealed", commitGo,
		"	e.release(ctx, b)\n	fault.Point(fault.AfterGate)\n", "	e.flush(ctx)\n	e.release(ctx, b)\n	fault.Point(fault.AfterGate)\n",
	},
	{
		"pushes of a commit leave before its answers", commitGo,
		"	e.push(ctx, b)\n	for i := range b.outs {", "	defer e.push(ctx, b)\n	for i := range b.outs {",
	},
	{
		"a watch that joins behind the next batch sees what that makes", watchGo,
		"	case e.next != nil: // memory runs ahead of what next will hold: the view is taken at its seal\n		e.next.outs", "	case e.next != nil && e.flight != nil:\n		e.look(w)\n		e.flight.outs",
	},
	{
		"a watch waits for the commit in flight", watchGo,
		"	case e.flight != nil: // memory is exactly what is in flight", "	case false:",
	},
	{
		"what is not decided is bounced, not dropped", "actors/entity/entity.go",
		"			engine.Bounce(ctx, o.to, o.call())", "			_ = o",
	},
	{
		"what a stopped actor still gets is bounced", "actors/engine/mailbox.go",
		"	if !l.stopped.Load() {\n", "	if true {\n",
	},
	{
		"a bounced call is asked again", callGo,
		"	e.config.Scheduler.After(wait, func() { e.send(next) })", "	e.config.Scheduler.After(wait, func() { c.done(timedOut()); _ = next })",
	},
	{
		"attempts are numbered", callGo,
		"	next := &call{req: proto.CloneOf(c.req), attempt: c.attempt + 1, done: c.done}", "	_ = proto.CloneOf[proto.Message]\n	next := &call{req: c.req, attempt: c.attempt + 1, done: c.done}",
	},
	{
		"a fenced owner says nothing and goes", commitGo,
		"		e.rt.counts.fenced.Add(1)\n		e.abandon(ctx)", "		e.rt.counts.fenced.Add(1)\n		e.durable(ctx, b)",
	},
	{
		"an owner whose store lost commits halts", commitGo,
		"		e.halt(ctx, m.err)", "		e.abandon(ctx)",
	},
	{
		"a halted entity is marked in the store", entityGo,
		"	e.mark(ctx, why)\n}", "	ctx.Stop(ctx.Self())\n}",
	},
	{
		"a marked entity is not loaded", entityGo,
		"	case l.stored.Halted != \"\":", "	case l.stored.Halted == \"-\":",
	},
	{
		"an unknown outcome is followed by the same commit", commitGo,
		"		b.attempts++", "		b.attempts++\n		b.commit.ID += \"+\"",
	},
	{
		"nothing else is committed while an outcome is unknown", commitGo,
		"		e.rt.Scheduler.After(e.rt.backoff(retryFirst, b.attempts), func() { root.Send(self, &resubmit{b}) })", "		e.rt.Scheduler.After(e.rt.backoff(retryFirst, b.attempts), func() { root.Send(self, &resubmit{b}) })\n		e.flight = nil\n		e.flush(ctx)",
	},
	{
		"a commit without events does not advance the version", commitGo,
		"	if b.commit.Events != nil {\n		e.version++", "	if b.commit.Events != nil || b.commit.Snapshot != nil || true {\n		e.version++",
	},
	{
		"a view that has not changed is not pushed", watchGo,
		"	if d == s.digest {", "	if false {",
	},
	{
		"a snapshot is cut at its version", entityGo,
		"		if m.b == e.flight && e.mode == alive {\n", "		if m.b == e.flight && e.mode == alive {\n			if m.b.commit.Snapshot != nil {\n				m.b.commit.Snapshot = e.snapshot()\n			}\n",
	},
	{
		"a snapshot holds the commands that are remembered", commitGo,
		"Commands: e.memory.snapshot(), ", "",
	},
	{
		"a command is decided once", requestGo,
		"	if c = e.memory.find(req.GetSubject(), id); c != nil {", "	if c = e.memory.find(req.GetSubject(), id); false {",
	},
	{
		"a command id belongs to one body", requestGo,
		"		if !slices.Equal(c.GetDigest(), digest) {", "		if !slices.Equal(digest, digest) {",
	},
	{
		"a command id that may have been forgotten is not decided", requestGo,
		"	if e.memory.expired(req.GetSubject(), id) {", "	if false {",
	},
	{
		"the window of a subject is bounded", memoryGo,
		"len(s.order) > rememberCount {", "len(s.order) > 100*rememberCount {",
	},
	{
		"forgetting raises the floor", memoryGo,
		"		s.floor = id\n", "		_ = id\n",
	},
	{
		"commands are forgotten after a day", commitGo,
		"	e.memory.expire(e.rt.Real.Now())\n", "",
	},
	{
		"the window is one subject's, not everybody's", memoryGo,
		"	s := m.of(c.GetSubject())\n	if bytes", "	s := m.of(\"\")\n	if bytes",
	},
	{
		"a refusal is not remembered", requestGo,
		"	if err != nil {\n		e.refuse(ctx, from, req, err)\n		e.flush(ctx)\n		return\n	}", "	if err != nil {\n		e.refuse(ctx, from, req, err)\n		e.memory.remember(command)\n		e.flush(ctx)\n		return\n	}",
	},
	{
		"an answer that changed nothing for another entity is written down", requestGo,
		"	if m.Internal && m.Command() && len(d.events) == 0 {", "	if false {",
	},
	{
		"a position of another epoch means nothing", watchGo,
		"	known := w.from.GetResume() && w.from.GetEpoch() == epoch && ", "	known := w.from.GetResume() && ",
	},
	{
		"a position ahead of the entity means nothing", watchGo,
		" && w.from.GetVersion() <= e.version\n", "\n",
	},
	{
		"a watcher that has seen more fences a replaced owner", watchGo,
		"	return w.from.GetVersion() > e.version || ", "	return ",
	},
	{
		"a resume of a state stream shows what changed", watchGo,
		"	case known && w.from.GetVersion() == e.version:\n", "	case known:\n",
	},
	{
		"a resume of an event stream pages the list", watchGo,
		"		e.catchUp(ctx, w)\n		return", "		_ = e.catchUp",
	},
	{
		"what is pushed while a resume reads is kept for it", watchGo,
		"				j.missed = append(j.missed, f.frame)", "",
	},
	{
		"a resume reads up to its version", listGo,
		"	for len(items) > 0 && items[0].Version <= upTo {", "	for len(items) > 0 {",
	},
	{
		"one frame for each commit", listGo,
		"		for len(items) > 0 && items[0].Version == version {", "		for n := 0; n < 1 && len(items) > 0 && items[0].Version == version; n++ {",
	},
	{
		"a watch is a lease", watchGo,
		"		s.watchers = slices.DeleteFunc(s.watchers, func(w watcher) bool { return w.expiresMS <= now })", "		_ = now",
	},
	{
		"a lease is prolonged", watchGo,
		"			one.expiresMS = expires\n", "",
	},
	{
		"a process hears a push once", watchGo,
		"one := &s.watchers[i]; one.to.Equal(w.to) {", "one := &s.watchers[i]; false {",
	},
	{
		"every commit replaces the wake-up", commitGo,
		"	c.Wake = e.nextWake(b.tasks)", "	if at := e.nextWake(b.tasks); !at.IsZero() {\n		c.Wake = at\n	}\n	if c.Wake.IsZero() && e.version > 0 {\n		c.Wake = e.rt.Domain.In(e.rt.TaskGuard)\n	}",
	},
	{
		"an entity with tasks is woken soon", commitGo,
		"guard.Before(at) {", "guard.Before(at) && false {",
	},
	{
		"an entity with tasks alone is woken", commitGo,
		"	if len(tasks) == 0 {\n", "	if len(tasks) == 0 || at.IsZero() {\n",
	},
	{
		"a claim that leads to nothing puts the wake-up back", requestGo,
		"	if e.next == nil && e.born() {\n		e.next = e.newBatch()\n	}\n	e.answer", "	e.answer",
	},
	{
		"a task of a dead process is taken up", entityGo,
		"		e.reconcile(ctx, e.machine.tasks(), e.batches)\n", "",
	},
	{
		"an attempt is written down before it touches the outside", taskGo,
		"	if messages.ByRequest(name(r.task)) != nil {\n", "	if true {\n",
	},
	{
		"a task whose result is on its way counts as running", taskGo,
		"	r.reported = e.next.number\n", "	delete(e.runs, m.id)\n",
	},
	{
		"the result of a cancelled task is heard", taskGo,
		"		r.last = true\n", "		delete(e.runs, id)\n",
	},
	{
		"a cancelled task is not tried again", taskGo,
		"	} else if last {\n		delete(e.runs, m.id)\n	} else {", "	} else if last = false; !last {",
	},
	{
		"a task that is wanted again goes on", taskGo,
		"			r.anew = true\n", "",
	},
	{
		"what may pass is tried again", taskGo,
		"	if m.err != nil && (!final || messages.Rule(refusal.Reason).GetRetry()) {", "	if m.err != nil && !final {",
	},
	{
		"tasks of one key run one at a time", lanesGo,
		"	if first {\n		ready()", "	if first || true {\n		ready()",
	},
	{
		"a place in a lane is given back by whoever goes", taskGo,
		"		r := e.runs[id]\n		r.turn.leave()\n", "		r := e.runs[id]\n",
	},
	{
		"nothing that is used is passivated", entityGo,
		"len(e.joiners) > 0 || len(e.runs) > 0\n", "len(e.joiners) > 0\n",
	},
	{
		"what is watched is not passivated", entityGo,
		"len(e.streams) > 0 || len(e.joiners)", "len(e.joiners)",
	},
	{
		"a wake-up keeps an entity that was about to go", requestGo,
		"	e.leaving = false // what it decides", "	// what it decides",
	},
	{
		"an unknown id leaves no trace", requestGo,
		"		if !e.born() {\n			ctx.Stop(ctx.Self()) // an id", "		if false {\n			ctx.Stop(ctx.Self()) // an id",
	},
	{
		"an unknown id is refused", requestGo,
		"	absent := !e.born() && !m.Creates\n", "	absent := false\n",
	},
	{
		"a foreign id is refused like an unknown one", requestGo,
		"	if absent || misnamed || foreign {", "	if absent || misnamed || foreign && false {",
	},
	{
		"a new id is the one of its command", requestGo,
		"	if absent || misnamed || foreign {", "	if absent || foreign || misnamed && false {",
	},
	{
		"a panic ends the incarnation", entityGo,
		"	e.abandon(ctx)\n}\n\nfunc (e *entity) killed", "}\n\nfunc (e *entity) killed",
	},
	{
		"what ended its actor twice is not tried again", "actors/entity/poison.go",
		"	return k.times >= poisonLimit && ", "	return k.times > 100*poisonLimit && ",
	},
	{
		"an unreadable snapshot is passed over", foldGo,
		"	if errors.Is(err, errSnapshot) {", "	if errors.Is(err, errSnapshot) && n < 0 {",
	},
	{
		"what a later version wrote is refused", foldGo,
		"		if path := messages.Unknown(m); path != \"\" {", "		if path := messages.Unknown(m); path == \"-\" {",
	},
	{
		"time does not go back behind the last decision", requestGo,
		"	now := time.UnixMilli(max(e.rt.Domain.Now().UnixMilli(), e.lastMS)).UTC()", "	now := time.UnixMilli(e.rt.Domain.Now().UnixMilli()).UTC()",
	},
	{
		"a snapshot is what was written", foldGo,
		"		return s.GetChecksum() == checksum(s)\n", "		return true\n",
	},
	{
		"what is sealed is sealed before it is decided", requestGo,
		"	e.sealBody(body)\n", "",
	},
	{
		"the digest of a sealed command cannot be guessed at", requestGo,
		"		sum.Write(e.box.Pepper())", "		_ = e.box.Pepper()",
	},
	{
		"a request that waits for a key keeps its place", "actors/entity/seal.go",
		"		if lacks && !inVain {", "		if lacks = false; lacks {",
	},
	{
		"people are not shown what is sealed", "actors/entity/kind.go",
		"	return encode(messages.Masked(m.behavior.View(m.id, m.s, method)))", "	return encode(m.behavior.View(m.id, m.s, method))",
	},
	{
		"a group is known as soon as it subscribes", subscriptionGo,
		"	if !n.join(ctx) {", "	if ctx.Err() != nil {",
	},
	{
		"a group is where its acks are", subscriptionGo,
		"		for _, first := range batch {\n", "		for _, first := range batch {\n			t.handled(first.of.Position)\n",
	},
	{
		"a reader hears of what was trimmed unread", subscriptionGo,
		"	return to - from - 1\n", "	return 0\n",
	},
	{
		"a nacked message waits for its next turn", subscriptionGo,
		"		if !clock.Pause(ctx, n.config.NackDelay) {", "		if !clock.Pause(ctx, 0) {",
	},
}
