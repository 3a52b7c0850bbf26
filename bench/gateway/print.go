package gateway

import "fmt"

// rows prints a row for each server that was measured.
func rows(servers []string, r results, cells func(server string, f map[string]series) []string) {
	for _, server := range servers {
		if f := r[server]; f != nil {
			line(append([]string{server}, cells(server, f)...)...)
		}
	}
}

// target prints a ratio or figure beside what is aimed at.
func target(what string, s series, format, aim string) {
	fmt.Printf("- %s: **%s**, target %s\n", what, s.text(format), aim)
}

var everyone = []string{marketplace, library, pooled, ceiling, wideCeiling, noSocket}

func printMemory(r results, o Options) {
	head(fmt.Sprintf("Memory of %d idle connections, signed in and watching their own account, KiB each", o.Connections),
		"server", "resident, garbage given back", "resident before that", "objects", "their spans", "stacks", "runtime", "goroutines", "CPU while idle, µs a second")
	rows(everyone, r, func(_ string, f map[string]series) []string {
		return []string{f["rss"].text("%.1f"), f["settled"].text("%.1f"), f["heap"].text("%.1f"), f["spans"].text("%.1f"), f["stack"].text("%.1f"), f["runtime"].text("%.1f"), f["goroutines"].text("%.2f"), f["idle"].text("%.1f")}
	})
	fmt.Println()
	target("the marketplace's, with the user's actor", r[marketplace]["rss"], "%.1f", "≤ 15")
	target("of centrifuge's, which has none", r[marketplace]["rss"].over(r[library]["rss"]), "%.2f", "≤ 0.55")
}

func printPush(r results, o Options) {
	head(fmt.Sprintf("One push at a time to %d connections", o.Connections), "server", "server CPU, µs a delivery", "less what it takes while idle", "first to last delivery, ms")
	rows(everyone, r, func(_ string, f map[string]series) []string {
		return []string{f["cpu"].text("%.2f"), f["net"].text("%.2f"), f["spread"].text("%.0f")}
	})
	fmt.Println()
	cpu, spread := func(s string) series { return r[s]["cpu"] }, func(s string) series { return r[s]["spread"] }
	target("CPU, of centrifuge's", cpu(marketplace).over(cpu(library)), "%.2f", "≤ 0.75")
	target("CPU, of the bare server's", cpu(marketplace).over(cpu(ceiling)), "%.2f", "≤ 1.15")
	target("the same, less what each takes while idle", r[marketplace]["net"].over(r[ceiling]["net"]), "%.2f", "none")
	target("first to last, of the bare server's", spread(marketplace).over(spread(ceiling)), "%.2f", "≤ 1.5")
	target("first to last, of the bare server's on all processors", spread(marketplace).over(spread(wideCeiling)), "%.2f", "none")
}

func printBurst(r results, o Options) {
	head(fmt.Sprintf("%d pushes at once to %d connections", overlapping, o.Crowd), "server", "deliveries/s", "server CPU, µs a delivery")
	rows(everyone, r, func(_ string, f map[string]series) []string {
		return []string{f["rate"].text("%.0f"), f["cpu"].text("%.3f")}
	})
	fmt.Println()
	target("deliveries/s, of centrifuge's", r[marketplace]["rate"].over(r[library]["rate"]), "%.1f", "≥ 8")
}

func printRead(r results, _ Options) {
	head(fmt.Sprintf("cloud-user/get-account, %d connections with %d in flight", readers, readDepth), "server", "reads/s", "server CPU, µs each", "p50, ms", "p99, ms")
	rows(everyone, r, func(_ string, f map[string]series) []string {
		return []string{f["rate"].text("%.0f"), f["cpu"].text("%.2f"), f["p50"].text("%.1f"), f["p99"].text("%.1f")}
	})
	fmt.Println()
	cpu := r[marketplace]["cpu"]
	target("CPU", cpu, "%.2f", "≤ 12 µs")
	target("CPU, of centrifuge's", cpu.over(r[library]["cpu"]), "%.2f", "≤ 1.0")
	target("CPU, of the same without a socket", cpu.over(r[noSocket]["cpu"]), "%.2f", "≤ 1.3")
}

func printConnect(r results, _ Options) {
	head(fmt.Sprintf("Connecting, a token signed with RS256, watching the own account, everybody having come before; %d on their way at once", dialing), "server", "connections/s", "server CPU, µs each", "p99, ms")
	rows(everyone, r, func(_ string, f map[string]series) []string {
		return []string{f["rate"].text("%.0f"), f["cpu"].text("%.0f"), f["p99"].text("%.1f")}
	})
	fmt.Println()
	target("connections/s, of centrifuge's", r[marketplace]["rate"].over(r[library]["rate"]), "%.2f", "≥ 1.0")
}

func printEvents(r results, o Options) {
	head(fmt.Sprintf("%d events a second, spread over %d connections: from the command to the frame at its user, ms", eventRate, o.Crowd),
		"server", "due to frame, p50", "p99", "max", "due to answer, p99", "answer to frame, p50", "p99", "lost", "server CPU, µs each")
	rows(everyone, r, func(_ string, f map[string]series) []string {
		return []string{f["p50"].text("%.1f"), f["p99"].text("%.1f"), f["max"].text("%.1f"), f["answer"].text("%.1f"), f["beyond50"].text("%.2f"), f["beyond"].text("%.2f"), f["lost"].text("%.0f"), f["cpu"].text("%.0f")}
	})
	fmt.Println()
	target("p99 from the answer, which says that it is committed, to the frame, ms", r[marketplace]["beyond"], "%.2f", "≤ 10")
	target("p99 with the way to the server and the commit's sync, ms", r[marketplace]["p99"], "%.1f", "none")
	target("lost", r[marketplace]["lost"], "%.0f", "0")
}

func printSessions(r results, o Options) {
	head(fmt.Sprintf("A broadcast to %d sessions without sockets, each a write(2) to /dev/null", o.Sessions), "server", "from the push to the last write, ms")
	rows(everyone, r, func(server string, f map[string]series) []string {
		return []string{f["spread"].text("%.1f")}
	})
	fmt.Println()
	target("first to last, of a loop that only writes", r[marketplace]["spread"].over(r[ceiling]["spread"]), "%.2f", "≤ 1.5")
}
