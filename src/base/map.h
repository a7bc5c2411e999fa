/* A hash map from byte strings to size_t, open addressing, FNV-1a; keys are copied.  Not thread-safe for writing. */
#ifndef AR_BASE_MAP_H
#define AR_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ar_map {
    struct ar_map_slot *slots;
    size_t cap, count;
    char **chunks; /* key bytes, in blocks that never move */
    size_t chunk_count, chunk_cap, chunk_used, chunk_size;
} ar_map;

#define AR_MAP_NONE SIZE_MAX

/* Adds or replaces; false when memory ran out.  The zeroed struct is an empty map. */
bool ar__map_put(ar_map *m, const char *key, size_t len, size_t value);
size_t ar__map_find(const ar_map *m, const char *key, size_t len); /* AR_MAP_NONE if absent */
size_t ar__map_find_str(const ar_map *m, const char *key);
void ar__map_release(ar_map *m);

#endif
