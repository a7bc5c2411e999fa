/* OpenBLAS and LAPACK on the calling thread alone, with nothing changed for the program around us.
 *
 *     AR_ALONE(cblas_dgemm(…));
 *
 * Their own threads would sum in another order, so that bits depended on the machine.  An OpenBLAS with OpenMP asks
 * omp_get_max_threads() at every call (from 0.3.22 on, whatever openblas_set_num_threads said before), a value that
 * belongs to the calling thread: it is 1 during the call and then what it was.  An OpenBLAS with threads of its own knows
 * only the setting for the whole process, which ar__openblas_prepare makes. */
#ifndef AR_KERN_ALONE_H
#define AR_KERN_ALONE_H

#include <omp.h>

static inline int ar__alone_begin(void) {
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    return threads;
}

#define AR_ALONE(...)                                                                                                                      \
    do {                                                                                                                                   \
        int ar__threads_ = ar__alone_begin();                                                                                              \
        __VA_ARGS__;                                                                                                                       \
        omp_set_num_threads(ar__threads_);                                                                                                 \
    } while (0)

#endif
