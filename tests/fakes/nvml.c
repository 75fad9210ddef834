/* Stands for libnvidia-ml.so.1 in the tests: the same exported names, scripted by the file that FAKE_NVML names.

   The script, a line a thing:
     init CODE                          what nvmlInit answers (0 is well)
     driver GENERATION                  another number: every handle from before is dead until nvmlInit
     card KEY=VALUES ...                one card; parts of it (MIG) follow as `part KEY=VALUES ...`
   KEY is uuid, pci, name (these three one word), total, used, util, temp, power, energy, clock, throttle, own and others
   (bytes that this process and another hold; without `own` the processes are not told); VALUES are
   numbers with commas between them: each call takes the next, and the last one stays. In the place of a number: N not
   supported, L lost, E<code> that error, S<ms> sleep first and answer 0. The file is read again when it has changed,
   and then every card begins with its first values again, unless its line is the same.

   With FAKE_NVML_STILL the script is read once: for benchmarks, which are not to measure this file.

   FAKE_NVML_LOG names a file that gets a line a call: nanoseconds, card, key, and what was answered. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CARDS = 32, KEYS = 10, VALUES = 512, UNINITIALIZED = 1, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, LOST = 15 };
static const char *const KEY[KEYS] = {"total", "used", "util", "temp", "power", "energy", "clock", "throttle", "own", "others"};
typedef struct { char word[VALUES][24]; int count, next; } List;
typedef struct { char line[8192], uuid[96], pci[32], name[96]; List list[KEYS]; int is_part, parent; } Card;
static Card cards[CARDS];
static int card_count, init_code, driver, opened_with = -1;
static struct timespec seen;
static off_t seen_size = -1;

static void parse_card(Card *card, const char *line) {
  char copy[8192], *save = NULL;
  if (!strcmp(card->line, line)) return;
  memset(card, 0, sizeof *card);
  snprintf(card->line, sizeof card->line, "%s", line);
  snprintf(copy, sizeof copy, "%s", line);
  card->is_part = !strncmp(copy, "part", 4);
  for (char *word = strtok_r(copy + 4, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
    char *value = strchr(word, '='), *comma = NULL;
    if (!value) continue;
    *value++ = 0;
    if (!strcmp(word, "uuid")) snprintf(card->uuid, sizeof card->uuid, "%s", value);
    if (!strcmp(word, "pci")) snprintf(card->pci, sizeof card->pci, "%s", value);
    if (!strcmp(word, "name")) snprintf(card->name, sizeof card->name, "%s", value);
    for (int key = 0; key < KEYS; key++)
      if (!strcmp(word, KEY[key])) {
        List *list = &card->list[key];
        for (char *item = strtok_r(value, ",", &comma); item && list->count < VALUES; item = strtok_r(NULL, ",", &comma))
          snprintf(list->word[list->count++], 24, "%s", item);
      }
  }
}

static void refresh(void) {
  struct stat status;
  char line[8192];
  const char *path = getenv("FAKE_NVML");
  if (!path || (seen_size >= 0 && getenv("FAKE_NVML_STILL")) || stat(path, &status)) return;
  if (status.st_size == seen_size && status.st_mtim.tv_sec == seen.tv_sec && status.st_mtim.tv_nsec == seen.tv_nsec) return;
  FILE *file = fopen(path, "r");
  if (!file) return;
  seen = status.st_mtim;
  seen_size = status.st_size;
  int count = 0, whole = 0;
  while (fgets(line, sizeof line, file)) {
    line[strcspn(line, "\r\n")] = 0;
    if (sscanf(line, "init %d", &init_code) == 1 || sscanf(line, "driver %d", &driver) == 1) continue;
    if ((strncmp(line, "card", 4) && strncmp(line, "part", 4)) || count == CARDS) continue;
    parse_card(&cards[count], line);
    if (!cards[count].is_part) whole = count;
    cards[count++].parent = whole;
  }
  card_count = count;
  fclose(file);
}

static void note(int card, const char *key, const char *said) {
  static int log = -2;
  const char *path = getenv("FAKE_NVML_LOG");
  if (!path) return;
  if (log == -2) { FILE *file = fopen(path, "a"); log = file ? fileno(file) : -1; }
  if (log < 0) return;
  struct timespec now;
  char line[160];
  clock_gettime(CLOCK_MONOTONIC, &now);
  int length = snprintf(line, sizeof line, "%lld %d %s %s\n", (long long)now.tv_sec * 1000000000LL + now.tv_nsec, card, key, said);
  if (write(log, line, length) < 0) return;
}

static int number_of(void *handle) { return (int)(intptr_t)handle - 1; }

static int check(void *handle, Card **card) {
  refresh();
  int number = number_of(handle);
  if (opened_with != driver) return UNINITIALIZED;
  if (number < 0 || number >= card_count) return INVALID;
  *card = &cards[number];
  return 0;
}

static int ask(void *handle, int key, unsigned long long *answer) {
  Card *card;
  int code = check(handle, &card);
  if (code) return code;
  List *list = &card->list[key];
  const char *word = list->count ? list->word[list->next] : "N";
  if (list->next + 1 < list->count) list->next++;
  note(number_of(handle), KEY[key], word);
  *answer = 0;
  if (*word == 'N') return UNSUPPORTED;
  if (*word == 'L') return LOST;
  if (*word == 'E') return atoi(word + 1);
  if (*word == 'S') { struct timespec rest = {atoi(word + 1) / 1000, atoi(word + 1) % 1000 * 1000000L}; nanosleep(&rest, NULL); return 0; }
  *answer = strtoull(word, NULL, 10);
  return 0;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; refresh(); if (!init_code) opened_with = driver; return init_code; }
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { opened_with = -1; return 0; }
const char *nvmlErrorString(int code) {
  return code == LOST ? "GPU is lost" : code == UNSUPPORTED ? "Not Supported" : code == UNINITIALIZED ? "Uninitialized"
       : code == 9 ? "Driver Not Loaded" : "Unknown Error";
}
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "999.%d", driver); return 0; }

int nvmlDeviceGetCount_v2(unsigned *count) {
  refresh();
  if (opened_with != driver) return UNINITIALIZED;
  *count = 0;
  for (int n = 0; n < card_count; n++) *count += !cards[n].is_part;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
  refresh();
  if (opened_with != driver) return UNINITIALIZED;
  for (int n = 0; n < card_count; n++)
    if (!cards[n].is_part && index-- == 0) {
      *handle = (void *)(intptr_t)(n + 1);
      return cards[n].list[0].count && cards[n].list[0].word[0][0] == 'L' ? LOST : 0;
    }
  return INVALID;
}
static int text(void *handle, char *to, unsigned size, int which) {
  Card *card;
  int code = check(handle, &card);
  if (!code) snprintf(to, size, "%s", which ? card->uuid : card->name);
  return code;
}
int nvmlDeviceGetName(void *handle, char *to, unsigned size) { return text(handle, to, size, 0); }
int nvmlDeviceGetUUID(void *handle, char *to, unsigned size) { return text(handle, to, size, 1); }
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
int nvmlDeviceGetPciInfo_v3(void *handle, Pci *pci) {
  Card *card;
  int code = check(handle, &card);
  if (code) return code;
  memset(pci, 0, sizeof *pci);
  snprintf(pci->bus_id, sizeof pci->bus_id, "%s", card->pci);
  return card->pci[0] ? 0 : UNSUPPORTED;
}
typedef struct { unsigned long long total, free, used; } Memory;
int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
  unsigned long long total = 0, used = 0;
  int code = ask(handle, 0, &total);
  if (!code) code = ask(handle, 1, &used);
  memory->total = total;
  memory->used = used;
  memory->free = total - used;
  return code;
}
typedef struct { unsigned gpu, memory; } Load;
int nvmlDeviceGetUtilizationRates(void *handle, Load *load) {
  unsigned long long value = 0;
  int code = ask(handle, 2, &value);
  load->gpu = (unsigned)value;
  load->memory = 0;
  return code;
}
static int small(void *handle, int key, unsigned *to) {
  unsigned long long value = 0;
  int code = ask(handle, key, &value);
  *to = (unsigned)value;
  return code;
}
int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *to) { (void)sensor; return small(handle, 3, to); }
int nvmlDeviceGetPowerUsage(void *handle, unsigned *to) { return small(handle, 4, to); }
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *to) { return ask(handle, 5, to); }
int nvmlDeviceGetClockInfo(void *handle, int kind, unsigned *to) { (void)kind; return small(handle, 6, to); }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *to) { return ask(handle, 7, to); }
typedef struct { unsigned pid; unsigned long long used; unsigned instance, part; } Process;
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, Process *to) {
  Card *card;
  int code = check(handle, &card);
  if (code) return code;
  if (!card->list[8].count) return UNSUPPORTED;
  if (*count < 2) { *count = 2; return TOO_SMALL; }
  memset(to, 0, 2 * sizeof *to);
  code = ask(handle, 8, &to[0].used);
  if (code) return code;
  to[0].pid = (unsigned)getpid();
  to[1].pid = 1;
  *count = card->list[9].count ? 2 : 1;
  return *count == 2 ? ask(handle, 9, &to[1].used) : 0;
}
int nvmlDeviceGetMigMode(void *handle, unsigned *now, unsigned *later) {
  Card *card;
  int code = check(handle, &card), number = number_of(handle);
  if (code) return code;
  if (card->is_part) return UNSUPPORTED;
  *now = *later = number + 1 < card_count && cards[number + 1].is_part;
  return 0;
}
int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) { (void)handle; *count = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **part) {
  int number = number_of(handle) + 1 + (int)index;
  if (number >= card_count || !cards[number].is_part || cards[number].parent != number_of(handle)) return NOT_FOUND;
  *part = (void *)(intptr_t)(number + 1);
  return 0;
}
