// Package chaos holds tests that start the pipeline's real programs and a
// real NATS server as processes, kill them at random moments and places, fill
// their disks and lock their database, and compare what is left at the end
// with what an undisturbed run leaves: bit for bit, table by table.
//
// `make chaos` runs them; CHAOS_RUNS sets how many random runs there are (200)
// and CHAOS_SEED where they begin (1). `make chaos-cluster` runs those over three
// NATS servers and on PostgreSQL; CHAOS_KILLS sets how many kills there are (200).
package chaos
