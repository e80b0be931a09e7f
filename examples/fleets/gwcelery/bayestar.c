/* Stands for the program that localizes an event: it sums a series with as many threads as OMP_NUM_THREADS says. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    long terms = argc > 1 ? atol(argv[1]) : 1000000;
    double sum = 0;
    int threads = 0;
#pragma omp parallel reduction(+ : sum)
    {
#pragma omp single
        threads = omp_get_num_threads();
#pragma omp for
        for (long i = 1; i <= terms; i++)
            sum += 1.0 / i / i;
    }
    printf("{\"threads\": %d, \"sum\": %.9f}\n", threads, sum);
    return 0;
}
