/* The sixteen values of NF4 by code: quantiles of a normal distribution, scaled to [-1, 1] (arXiv 2305.14314), as bitsandbytes has them. */
#ifndef AR_KERN_NF4_H
#define AR_KERN_NF4_H

/* A device keeps it in memory of its own. */
#ifndef AR_NF4_TABLE
#define AR_NF4_TABLE static const
#endif

AR_NF4_TABLE float ar__nf4_values[16] = {-1.0f,
                                         -0.6961928009986877f,
                                         -0.5250730514526367f,
                                         -0.39491748809814453f,
                                         -0.28444138169288635f,
                                         -0.18477343022823334f,
                                         -0.09105003625154495f,
                                         0.0f,
                                         0.07958029955625534f,
                                         0.16093020141124725f,
                                         0.24611230194568634f,
                                         0.33791524171829224f,
                                         0.44070982933044434f,
                                         0.5626170039176941f,
                                         0.7229568362236023f,
                                         1.0f};

#endif
