/* sseload.c: keeps many streams open and measures how they arrive.
 *
 * One thread, epoll, no dependencies, 127.0.0.1 only.
 *
 *   build   cc -O2 -o sseload sseload.c
 *   usage   sseload PORT CONNECTIONS CHUNKS SECONDS WARMUP_S STAGGER_MS HEAD BODY
 *
 * HEAD and BODY are files; each request is HEAD, then BODY in a segment of its own, as
 * the SDKs' HTTP clients send them. Connections are opened evenly over STAGGER_MS. A
 * finished reply is asked for again on the same connection until SECONDS have passed;
 * then everything stops where it is. CHUNKS 0 means plain replies instead of streams.
 *
 * Prints one JSON line. What began before WARMUP_S is counted only in *_all:
 *   chunks_all chunks_s   content chunks (stamps "@T<16 digits>"), and a second
 *   done_all              replies that ended
 *   bad                   of which had a wrong number of chunks or no proper end
 *   errors                failed connections and replies other than 200
 *   ttft_*                request to first chunk, microseconds
 *   lag_*                 stamp to arrival, microseconds
 *   whole_*               request to end of reply, microseconds
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STAMP_LENGTH 18 /* "@T" and 16 digits */
#define READ_SIZE 65536
#define HEAD_LIMIT 8192
#define MOST_ERRORS 5000
#define MOST_SAMPLES 20000000
#define EVENTS_AT_ONCE 512

/* How a stream of chat ends, and one of Messages; they are of one length. */
static const char CHAT_END[] = "[DONE]\n\n";
static const char MESSAGES_END[] = "stop\"}\n\n";
#define STREAM_END_LENGTH (sizeof CHAT_END - 1)

/* Where in a reply the next byte belongs. A proxy may cut chunks anywhere, so the
 * framing has to be taken off before anything is looked for. */
typedef enum {
  HEAD, SIZE, EXTENSION, DATA, DATA_END, TRAILER, PLAIN, END, BROKEN
} place;

typedef struct {
  int fd;
  int connected;
  int asked;          /* a reply is being waited for */
  place place;
  int chunks;         /* stamps so far */
  int carried;        /* bytes in `carry`: the beginning of a cut stamp */
  size_t left;        /* of this chunk, or of a body with a length */
  size_t line;        /* length of the line so far, in a trailer */
  size_t to_send;     /* bytes of the request still unsent */
  size_t head_length; /* bytes in `head` */
  uint64_t asked_ns;
  char carry[STAMP_LENGTH];
  char tail[STREAM_END_LENGTH];
  char head[HEAD_LIMIT];
} conn;

typedef struct {
  uint32_t *tenths_us;
  size_t count, capacity;
} samples;

typedef struct {
  char *data;
  size_t length;
} blob;

static int port, epoll_fd, expected_chunks;
static blob head, body;
static uint64_t warm_ns;
static long errors, bad, done_all, chunks_all, chunks_warm;
static samples ttft, lag, whole;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* ---- samples --------------------------------------------------------------------- */

static void record(samples *s, uint64_t ns) {
  if (s->count == s->capacity) {
    if (s->capacity > MOST_SAMPLES) return;
    s->capacity = s->capacity ? s->capacity * 2 : 65536;
    s->tenths_us = realloc(s->tenths_us, s->capacity * sizeof *s->tenths_us);
  }
  uint64_t tenths = ns / 100;
  s->tenths_us[s->count++] = tenths > UINT32_MAX ? UINT32_MAX : (uint32_t)tenths;
}

static int compare(const void *x, const void *y) {
  uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
  return a < b ? -1 : a > b;
}

static void print_samples(const char *name, samples *s) {
  if (!s->count) return;
  qsort(s->tenths_us, s->count, sizeof *s->tenths_us, compare);
  printf(",\"%s_p50_us\":%.1f,\"%s_p99_us\":%.1f", name,
         s->tenths_us[(s->count - 1) / 2] / 10.0, name,
         s->tenths_us[(size_t)((double)(s->count - 1) * 0.99)] / 10.0);
}

/* ---- connections ----------------------------------------------------------------- */

static void watch(conn *c, int how, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  epoll_ctl(epoll_fd, how, c->fd, &e);
}

static void open_conn(conn *c) {
  int one = 1;
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_port = htons((uint16_t)port),
                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) {
    perror("sseload: cannot open a socket");
    exit(1);
  }
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  connect(c->fd, (struct sockaddr *)&a, sizeof a);
  c->connected = 0;
  watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

static void reopen(conn *c) {
  close(c->fd);
  c->asked = 0;
  open_conn(c);
}

static void fail(conn *c) {
  errors++;
  reopen(c);
}

/* Send what is left of the request, head and body in segments of their own. */
static void send_rest(conn *c) {
  while (c->to_send) {
    size_t unsent = c->to_send;
    const blob *part = unsent > body.length ? &head : &body;
    size_t left = part == &head ? unsent - body.length : unsent;
    ssize_t n = send(c->fd, part->data + part->length - left, left, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) {
      watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
      return;
    }
    if (n < 0) {
      fail(c);
      return;
    }
    c->to_send -= (size_t)n;
  }
  watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void ask(conn *c) {
  c->chunks = c->carried = 0;
  c->head_length = 0;
  c->place = HEAD;
  memset(c->tail, 0, sizeof c->tail);
  c->asked = 1;
  c->to_send = head.length + body.length;
  c->asked_ns = now_ns();
  send_rest(c);
}

/* ---- replies --------------------------------------------------------------------- */

static void on_stamp(conn *c, const char *digits, uint64_t t) {
  uint64_t sent_ns = 0;
  for (int i = 0; i < 16; i++) sent_ns = sent_ns * 10 + (uint64_t)(digits[i] - '0');
  chunks_all++;
  c->chunks++;
  if (t < warm_ns) return;
  if (c->chunks == 1) record(&ttft, t - c->asked_ns);
  chunks_warm++;
  record(&lag, t > sent_ns ? t - sent_ns : 0);
}

/* Find stamps, also those cut in two by a read. */
static void find_stamps(conn *c, const char *data, size_t length, uint64_t t) {
  static char joined[READ_SIZE + STAMP_LENGTH];
  const char *from = data;
  if (c->carried) {
    memcpy(joined, c->carry, (size_t)c->carried);
    memcpy(joined + c->carried, data, length);
    from = joined;
    length += (size_t)c->carried;
    c->carried = 0;
  }
  const char *end = from + length;
  while (from < end && (from = memchr(from, '@', (size_t)(end - from)))) {
    if (end - from < STAMP_LENGTH) {
      c->carried = (int)(end - from);
      memcpy(c->carry, from, (size_t)c->carried);
      return;
    }
    if (from[1] == 'T') {
      on_stamp(c, from + 2, t);
      from += STAMP_LENGTH;
    } else {
      from++;
    }
  }
}

static void keep_tail(conn *c, const char *data, size_t length) {
  size_t size = sizeof c->tail;
  if (length >= size) {
    memcpy(c->tail, data + length - size, size);
    return;
  }
  memmove(c->tail, c->tail + length, size - length);
  memcpy(c->tail + size - length, data, length);
}

static void on_payload(conn *c, const char *data, size_t length, uint64_t t) {
  find_stamps(c, data, length, t);
  keep_tail(c, data, length);
}

static int digit_of(char ch) {
  if (ch >= '0' && ch <= '9') return ch - '0';
  if (ch >= 'a' && ch <= 'f') return ch - 'a' + 10;
  return ch >= 'A' && ch <= 'F' ? ch - 'A' + 10 : -1;
}

static place after_size(conn *c) {
  c->line = 0;
  return c->left ? DATA : TRAILER;
}

/* One byte of the framing between chunks; answers where the next one belongs. */
static place on_framing(conn *c, char ch) {
  switch (c->place) {
    case SIZE:
      if (ch == '\n') return after_size(c);
      if (ch == '\r') return SIZE;
      if (ch == ';') return EXTENSION;
      if (digit_of(ch) < 0) return BROKEN;
      c->left = c->left * 16 + (size_t)digit_of(ch);
      return SIZE;
    case EXTENSION:
      return ch == '\n' ? after_size(c) : EXTENSION;
    case DATA_END:
      return ch == '\n' ? SIZE : ch == '\r' ? DATA_END : BROKEN; /* left is 0 */
    case TRAILER:
      if (ch == '\n' && !c->line) return END;
      c->line = ch == '\n' ? 0 : c->line + (ch != '\r');
      return TRAILER;
    default:
      return BROKEN;
  }
}

/* Take the framing off a body and look at what is in it. Answers how much is left over
 * after the end. */
static size_t on_body(conn *c, const char *data, size_t length, uint64_t t) {
  while (length && c->place != END && c->place != BROKEN) {
    size_t taken = 1;
    if (c->place == DATA || c->place == PLAIN) {
      taken = length < c->left ? length : c->left;
      on_payload(c, data, taken, t);
      c->left -= taken;
      if (!c->left) c->place = c->place == DATA ? DATA_END : END;
    } else {
      c->place = on_framing(c, *data);
    }
    data += taken;
    length -= taken;
  }
  return length;
}

static int complete(const conn *c) {
  if (c->chunks != expected_chunks) return 0;
  if (!expected_chunks) return 1;
  return !memcmp(c->tail, CHAT_END, STREAM_END_LENGTH) ||
         !memcmp(c->tail, MESSAGES_END, STREAM_END_LENGTH);
}

static void on_end(conn *c, uint64_t t) {
  done_all++;
  if (!complete(c)) bad++;
  if (t >= warm_ns) record(&whole, t - c->asked_ns);
  ask(c);
}

/* Read the head; answers how many of these bytes it took. */
static size_t read_head(conn *c, const char *data, size_t length) {
  size_t room = HEAD_LIMIT - 1 - c->head_length;
  size_t taken = length < room ? length : room, before = c->head_length;
  memcpy(c->head + before, data, taken);
  c->head_length += taken;
  c->head[c->head_length] = 0;
  char *end = strstr(c->head, "\r\n\r\n");
  if (!end) {
    if (taken < length) c->place = BROKEN;
    return taken;
  }
  end[2] = 0;
  const char *size = strcasestr(c->head, "\r\ncontent-length:");
  c->left = size ? (size_t)atol(size + 17) : 0;
  c->place = !size ? SIZE : c->left ? PLAIN : END;
  if (strncmp(c->head, "HTTP/1.1 200", 12) != 0) c->place = BROKEN;
  return (size_t)(end + 4 - c->head) - before;
}

static void on_reply(conn *c, const char *data, size_t length) {
  uint64_t t = now_ns();
  const char *from = data;
  size_t left = length;
  if (c->place == HEAD) {
    size_t taken = read_head(c, data, length);
    from += taken;
    left -= taken;
    if (c->place == HEAD) return;
  }
  left = on_body(c, from, left, t);
  if (c->place == BROKEN || left) { /* or more than one reply to one request */
    if (!errors) fprintf(stderr, "%.*s\n", (int)length, data);
    fail(c);
  } else if (c->place == END) {
    on_end(c, t);
  }
}

static void on_connect(conn *c, uint32_t events) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error || events & (EPOLLERR | EPOLLHUP)) {
    fail(c);
    return;
  }
  c->connected = 1;
  ask(c);
}

static void on_event(conn *c, uint32_t events) {
  static char data[READ_SIZE];
  if (!c->connected) {
    on_connect(c, events);
    return;
  }
  if (events & EPOLLOUT && c->to_send) send_rest(c);
  if (!(events & ~(uint32_t)EPOLLOUT)) return;
  ssize_t n = recv(c->fd, data, sizeof data, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0)
    fail(c);
  else
    on_reply(c, data, (size_t)n);
}

/* ---- the run --------------------------------------------------------------------- */

static blob read_file(const char *path) {
  blob b = {NULL, 0};
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) {
    perror(path);
    exit(2);
  }
  b.length = (size_t)ftell(f);
  rewind(f);
  b.data = malloc(b.length + 1);
  if (fread(b.data, 1, b.length, f) != b.length) {
    perror(path);
    exit(2);
  }
  fclose(f);
  return b;
}

static void run(conn *all, int count, uint64_t start_ns, uint64_t end_ns,
                uint64_t stagger_ns) {
  static struct epoll_event events[EVENTS_AT_ONCE];
  int opened = 0;
  for (uint64_t t = now_ns(); t < end_ns && errors < MOST_ERRORS; t = now_ns()) {
    uint64_t due = stagger_ns ? (t - start_ns) * (uint64_t)count / stagger_ns + 1
                              : (uint64_t)count;
    while (opened < count && (uint64_t)opened < due) open_conn(&all[opened++]);
    int n = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, opened < count ? 1 : 50);
    for (int i = 0; i < n; i++) on_event(events[i].data.ptr, events[i].events);
  }
}

int main(int argc, char **argv) {
  if (argc != 9) {
    fprintf(stderr, "usage: sseload PORT CONNECTIONS CHUNKS SECONDS WARMUP_S "
                    "STAGGER_MS HEAD BODY\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  port = atoi(argv[1]);
  int count = atoi(argv[2]);
  expected_chunks = atoi(argv[3]);
  uint64_t start_ns = now_ns();
  uint64_t end_ns = start_ns + (uint64_t)(atof(argv[4]) * 1e9);
  warm_ns = start_ns + (uint64_t)(atof(argv[5]) * 1e9);
  uint64_t stagger_ns = (uint64_t)(atof(argv[6]) * 1e6);
  head = read_file(argv[7]);
  body = read_file(argv[8]);
  epoll_fd = epoll_create1(0);
  run(calloc((size_t)count, sizeof(conn)), count, start_ns, end_ns, stagger_ns);
  double window_s = (double)(now_ns() - warm_ns) / 1e9;
  printf("{\"chunks_all\":%ld,\"chunks_s\":%.1f,\"done_all\":%ld,\"bad\":%ld,"
         "\"errors\":%ld",
         chunks_all, window_s > 0 ? (double)chunks_warm / window_s : 0.0, done_all,
         bad, errors);
  print_samples("ttft", &ttft);
  print_samples("lag", &lag);
  print_samples("whole", &whole);
  printf("}\n");
  return 0;
}
