import { z } from "zod";

/** Where the sockets begin that a service manager hands over: 0 to 2 are the standard streams. */
const firstDescriptor = 3;

const passed = z.object({ LISTEN_PID: z.coerce.number().int(), LISTEN_FDS: z.coerce.number().int().min(1).max(16) });

/**
 * The listening sockets that systemd has opened for this process, as `sd_listen_fds(3)` tells: the port is then held while the
 * server restarts, and the server itself needs no network.
 *
 * @returns their descriptors, in the order of the socket unit; none where they are meant for another process
 */
export function inheritedSockets(environment: NodeJS.ProcessEnv, pid: number): readonly number[] {
  const { success, data } = passed.safeParse(environment);
  if (!success || data.LISTEN_PID !== pid) return [];
  return Array.from({ length: data.LISTEN_FDS }, (_, index) => firstDescriptor + index);
}
