/* mock_upstream.c: an OpenAI-compatible upstream that costs next to nothing.
 *
 * One thread, epoll, no dependencies, 127.0.0.1 only. Speaks just enough HTTP/1.1 to
 * be driven by a gateway on keep-alive connections.
 *
 *   build   cc -O2 -o mock_upstream mock_upstream.c
 *   usage   mock_upstream PORT
 *
 *   GET anything          a model list that is also a health answer
 *   POST anything         "stream":true -> server-sent events, else a 533-byte answer
 *     "max_tokens": N     content chunks of a stream (default 200)
 *     "seed": MS          pause between chunks; 0 sends them as fast as they go, one
 *                         send() each, round robin over all streams
 *
 * Every content chunk carries "@T" and 16 digits of CLOCK_MONOTONIC in nanoseconds, so
 * that the load can count chunks and measure one-way latency whatever happened to the
 * JSON around them. Of a body longer than BODY_KEPT only the beginning is looked at.
 * A chunked request body must fit into BODY_KEPT whole.
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

#define BODY_KEPT 65536
#define WHEEL_SLOTS 4096 /* one per millisecond */
#define EVENTS_AT_ONCE 512

typedef struct conn {
  int fd;
  int streaming;  /* a stream is being sent */
  int dead;       /* closed, freed at the end of this turn */
  int listed;     /* is in a wheel slot or in `burst` */
  int wants_out;  /* EPOLLOUT is asked for */
  int total;      /* content chunks of this stream */
  int sent;       /* events of this stream so far */
  int delay_ms;   /* 0: burst */
  uint64_t started_ns;
  uint64_t due_ms;
  size_t in_len;     /* bytes in `in` */
  size_t skip;       /* body bytes still to come that nobody keeps */
  size_t out_len;    /* bytes in `out` */
  size_t out_done;   /* of which are sent */
  struct conn *prev, *next;
  char out[1024];
  char *in;
} conn;

typedef struct {
  char text[2048];
  int length;
  int stamp; /* offset of the 16 digits, 0 for none */
} message;

static message first_event, event, finish_event, usage_event, done_event;
static message whole_reply, models_reply;
static conn *wheel[WHEEL_SLOTS], *burst, *graveyard;
static uint64_t wheel_ms;
static int epoll_fd, paced_streams;

static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\n"
    "content-type: text/event-stream; charset=utf-8\r\n"
    "cache-control: no-cache\r\n"
    "server: mock\r\n"
    "transfer-encoding: chunked\r\n\r\n";

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* ---- canned replies -------------------------------------------------------------- */

#define CHUNK_OPENING                                                               \
  "data: {\"id\":\"chatcmpl-0123456789abcdef0123\","                                \
  "\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"mock\","
#define CHOICE(delta, reason)                                                       \
  "\"choices\":[{\"index\":0,\"delta\":" delta                                      \
  ",\"logprobs\":null,\"finish_reason\":" reason "}]}\n\n"
#define STAMP "\"content\":\"@T0000000000000000 t\""
#define FOX "The quick brown fox jumps over the lazy dog."

static void render_chunk(message *m, const char *text) {
  m->length = sprintf(m->text, "%zx\r\n%s\r\n", strlen(text), text);
  char *stamp = strstr(m->text, "@T");
  m->stamp = stamp ? (int)(stamp + 2 - m->text) : 0;
}

static void render_json(message *m, const char *text) {
  m->length = sprintf(m->text,
                      "HTTP/1.1 200 OK\r\n"
                      "content-type: application/json\r\n"
                      "server: mock\r\n"
                      "content-length: %zu\r\n\r\n%s",
                      strlen(text), text);
}

static void render_all(void) {
  render_chunk(&first_event, CHUNK_OPENING CHOICE(
                                 "{\"role\":\"assistant\"," STAMP "}", "null"));
  render_chunk(&event, CHUNK_OPENING CHOICE("{" STAMP "}", "null"));
  render_chunk(&finish_event, CHUNK_OPENING CHOICE("{}", "\"stop\""));
  render_chunk(&usage_event, CHUNK_OPENING
               "\"choices\":[],\"usage\":{\"prompt_tokens\":42,"
               "\"completion_tokens\":200,\"total_tokens\":242}}\n\n");
  render_chunk(&done_event, "data: [DONE]\n\n");
  strcpy(done_event.text + done_event.length, "0\r\n\r\n");
  done_event.length += 5;
  render_json(&whole_reply,
              "{\"id\":\"chatcmpl-0123456789abcdef0123\","
              "\"object\":\"chat.completion\",\"created\":1700000000,"
              "\"model\":\"mock\",\"choices\":[{\"index\":0,\"message\":{"
              "\"role\":\"assistant\",\"content\":\"" FOX " " FOX " " FOX " " FOX
              " " FOX "\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
              "\"usage\":{\"prompt_tokens\":42,\"completion_tokens\":50,"
              "\"total_tokens\":92},\"system_fingerprint\":\"fp_mock\"}");
  render_json(&models_reply,
              "{\"object\":\"list\",\"status\":\"ok\",\"version\":\"0.32.0\","
              "\"data\":[{\"id\":\"mock\",\"object\":\"model\","
              "\"created\":1700000000,\"owned_by\":\"mock\","
              "\"max_model_len\":32768}]}");
}

/* ---- lists and timers ------------------------------------------------------------ */

static void list_add(conn **head, conn *c) {
  c->prev = NULL;
  c->next = *head;
  if (*head) (*head)->prev = c;
  *head = c;
  c->listed = 1;
}

static void list_remove(conn **head, conn *c) {
  if (!c->listed) return;
  if (c->prev)
    c->prev->next = c->next;
  else
    *head = c->next;
  if (c->next) c->next->prev = c->prev;
  c->prev = c->next = NULL;
  c->listed = 0;
}

static void wheel_add(conn *c, uint64_t due_ms) {
  c->due_ms = due_ms > wheel_ms ? due_ms : wheel_ms + 1;
  list_add(&wheel[c->due_ms % WHEEL_SLOTS], c);
  paced_streams++;
}

static void wheel_remove(conn *c) {
  list_remove(&wheel[c->due_ms % WHEEL_SLOTS], c);
  paced_streams--;
}

/* Chunk k is due k delays after the start; the closing events follow the last one. */
static void schedule_next(conn *c) {
  int chunk = c->sent < c->total ? c->sent : c->total;
  uint64_t due_ns = c->started_ns + (uint64_t)chunk * c->delay_ms * 1000000ull;
  wheel_add(c, due_ns / 1000000);
}

static void close_conn(conn *c) {
  if (c->dead) return;
  if (c->listed && c->delay_ms)
    wheel_remove(c);
  else
    list_remove(&burst, c);
  c->dead = 1;
  close(c->fd);
  c->next = graveyard;
  graveyard = c;
}

static void bury(void) {
  while (graveyard) {
    conn *c = graveyard;
    graveyard = c->next;
    free(c->in);
    free(c);
  }
}

/* ---- sending --------------------------------------------------------------------- */

static void want_out(conn *c, int wanted) {
  if (c->wants_out == wanted) return;
  c->wants_out = wanted;
  struct epoll_event e = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0),
                          .data.ptr = c};
  epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

/* Send what is in `out`. 1: all of it, 0: the peer is slow, -1: closed. */
static int flush(conn *c) {
  while (c->out_done < c->out_len) {
    ssize_t n = send(c->fd, c->out + c->out_done, c->out_len - c->out_done,
                     MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EAGAIN) {
        want_out(c, 1);
        return 0;
      }
      close_conn(c);
      return -1;
    }
    c->out_done += (size_t)n;
  }
  want_out(c, 0);
  return 1;
}

static const message *event_at(const conn *c) {
  if (c->sent == 0) return &first_event;
  if (c->sent < c->total) return &event;
  if (c->sent == c->total) return &finish_event;
  if (c->sent == c->total + 1) return &usage_event;
  return &done_event;
}

static void put_stamp(char *digits) {
  uint64_t t = now_ns();
  for (int i = 15; i >= 0; i--, t /= 10) digits[i] = (char)('0' + t % 10);
}

/* Send the next event of a stream; answers like flush. */
static int send_event(conn *c) {
  if (c->out_done < c->out_len) {
    int sent = flush(c);
    if (sent != 1 || !c->streaming) return sent;
  }
  const message *m = event_at(c);
  size_t head = 0;
  if (c->sent == 0) {
    head = sizeof STREAM_HEAD - 1;
    memcpy(c->out, STREAM_HEAD, head);
  }
  memcpy(c->out + head, m->text, (size_t)m->length);
  if (m->stamp) put_stamp(c->out + head + m->stamp);
  c->out_len = head + (size_t)m->length;
  c->out_done = 0;
  c->sent++;
  if (m == &done_event) c->streaming = 0;
  return flush(c);
}

static void send_whole(conn *c, const message *m) {
  if (send(c->fd, m->text, (size_t)m->length, MSG_NOSIGNAL) != m->length)
    close_conn(c);
}

/* ---- requests -------------------------------------------------------------------- */

static const char *value_of(const char *body, const char *key) {
  const char *p = strstr(body, key);
  if (!p) return NULL;
  p += strlen(key);
  while (*p == ' ' || *p == ':') p++;
  return p;
}

static int number_of(const char *body, const char *key, int otherwise) {
  const char *p = value_of(body, key);
  return p && *p >= '0' && *p <= '9' ? atoi(p) : otherwise;
}

static void answer(conn *c, const char *body) {
  if (c->in[0] == 'G') {
    send_whole(c, &models_reply);
    return;
  }
  const char *stream = value_of(body, "\"stream\"");
  if (!stream || strncmp(stream, "true", 4) != 0) {
    send_whole(c, &whole_reply);
    return;
  }
  c->total = number_of(body, "\"max_tokens\"", 200);
  c->total = number_of(body, "\"max_completion_tokens\"", c->total);
  c->delay_ms = number_of(body, "\"seed\"", 0);
  c->sent = 0;
  c->streaming = 1;
  c->started_ns = now_ns();
}

/* Length of a request's body; -1 while a chunked one has not wholly arrived. */
static long body_length(const char *head, const char *body, size_t have) {
  const char *length = strcasestr(head, "\r\ncontent-length:");
  if (length) return atol(length + 17);
  if (!strcasestr(head, "\r\ntransfer-encoding: chunked")) return 0;
  char *end = memmem(body, have, "0\r\n\r\n", 5);
  if (!end || (end != body && end[-1] != '\n')) return -1;
  return end + 5 - body;
}

/* Take one whole request out of `in`; 0 when there is none yet. */
static int take_request(conn *c) {
  char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
  if (!end) return 0;
  size_t head = (size_t)(end - c->in) + 4;
  *end = 0;
  long length = body_length(c->in, c->in + head, c->in_len - head);
  *end = '\r';
  if (length < 0) return 0;
  size_t have = c->in_len - head, whole = (size_t)length;
  if (have < whole && c->in_len < BODY_KEPT) return 0;
  size_t kept = have < whole ? have : whole;
  char after = c->in[head + kept];
  c->in[head + kept] = 0;
  c->skip = whole - kept;
  if (!c->skip) answer(c, c->in + head);
  c->in[head + kept] = after;
  if (c->skip) return 0; /* answered from what was kept, once the rest has come */
  memmove(c->in, c->in + head + kept, c->in_len - head - kept);
  c->in_len -= head + kept;
  return 1;
}

static void begin_stream(conn *c) {
  if (send_event(c) < 0) return;
  if (c->delay_ms)
    schedule_next(c);
  else
    list_add(&burst, c);
}

static void serve(conn *c) {
  while (!c->dead && !c->streaming && c->out_done >= c->out_len && !c->skip) {
    if (!take_request(c)) return;
    if (c->streaming && !c->dead) begin_stream(c);
  }
}

/* The unkept rest of a long body: when its last byte is here, answer. */
static void skip_body(conn *c, size_t arrived) {
  c->skip -= arrived;
  if (c->skip) return;
  char *body = memmem(c->in, c->in_len, "\r\n\r\n", 4);
  c->in[c->in_len] = 0;
  answer(c, body + 4);
  c->in_len = 0;
  if (c->streaming && !c->dead) begin_stream(c);
}

static void receive(conn *c) {
  static char waste[1 << 20];
  ssize_t n;
  if (c->skip)
    n = recv(c->fd, waste, c->skip < sizeof waste ? c->skip : sizeof waste, 0);
  else if (c->in_len >= BODY_KEPT)
    n = 0; /* more than can be kept: not a caller of this bench */
  else
    n = recv(c->fd, c->in + c->in_len, BODY_KEPT - c->in_len, 0);
  if (n == 0 || (n < 0 && errno != EAGAIN)) {
    close_conn(c);
    return;
  }
  if (n < 0) return;
  if (c->skip) {
    skip_body(c, (size_t)n);
    return;
  }
  c->in_len += (size_t)n;
}

/* ---- the loop -------------------------------------------------------------------- */

static void accept_all(int listener) {
  int fd, one = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    conn *c = calloc(1, sizeof *c);
    c->fd = fd;
    c->in = malloc(BODY_KEPT + 1);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
  }
}

static void on_event(conn *c, uint32_t events) {
  if (c->dead) return;
  if (events & (EPOLLERR | EPOLLHUP)) {
    close_conn(c);
    return;
  }
  if (events & EPOLLOUT && flush(c) < 0) return;
  if (events & EPOLLIN) receive(c);
  if (!c->dead && !c->streaming && !c->listed) serve(c);
}

static void turn_burst(void) {
  for (conn *c = burst, *next; c; c = next) {
    next = c->next;
    if (c->wants_out) continue;
    if (c->streaming && (send_event(c) <= 0 || c->streaming)) continue;
    list_remove(&burst, c);
    serve(c);
  }
}

static void turn_slot(conn **slot) {
  for (conn *c = *slot, *next; c; c = next) {
    next = c->next;
    if (c->due_ms != wheel_ms) continue;
    wheel_remove(c);
    if (c->wants_out) {
      wheel_add(c, wheel_ms + 1);
      continue;
    }
    if (c->streaming && send_event(c) < 0) continue;
    if (c->streaming || c->out_done < c->out_len)
      schedule_next(c);
    else
      serve(c);
  }
}

static void turn_wheel(void) {
  uint64_t now_ms = now_ns() / 1000000;
  if (!paced_streams) wheel_ms = now_ms;
  while (wheel_ms < now_ms) {
    wheel_ms++;
    turn_slot(&wheel[wheel_ms % WHEEL_SLOTS]);
  }
}

static int listen_on(int port) {
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_port = htons((uint16_t)port),
                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 4096)) {
    perror("mock_upstream: cannot listen");
    exit(1);
  }
  return fd;
}

int main(int argc, char **argv) {
  static struct epoll_event events[EVENTS_AT_ONCE];
  if (argc != 2) {
    fprintf(stderr, "usage: mock_upstream PORT\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  render_all();
  int listener = listen_on(atoi(argv[1]));
  epoll_fd = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e);
  wheel_ms = now_ns() / 1000000;
  for (;;) {
    int n = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE,
                       burst ? 0 : paced_streams ? 1 : -1);
    if (!paced_streams) wheel_ms = now_ns() / 1000000;
    for (int i = 0; i < n; i++) {
      if (events[i].data.ptr)
        on_event(events[i].data.ptr, events[i].events);
      else
        accept_all(listener);
    }
    turn_burst();
    turn_wheel();
    bury();
  }
}
