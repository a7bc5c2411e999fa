#ifndef AR_BASE_CLOCK_H
#define AR_BASE_CLOCK_H

double ar__clock_seconds(void); /* monotonic */

#endif
