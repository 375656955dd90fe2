// Scores variants in shards, each a task of its own, and joins them.
//
//   nextflow run workflows/nextflow --model exported --fasta g.fa --variants v.vcf.gz --shards 4

include { DNAMDLM_GATHER } from './modules/dnamdlm/gather/main'
include { DNAMDLM_SCORE  } from './modules/dnamdlm/score/main'

workflow {
    def shards   = params.shards as int
    if (shards < 2) {
        error "shards=${shards}: one command needs no workflow; give at least 2"
    }
    def variants = file(params.variants, checkIfExists: true)
    def genome   = file(params.fasta, checkIfExists: true)
    def meta     = [ id: variants.simpleName ]

    tasks = channel.of(1..shards).map { number -> [ meta, variants, [], "${number}/${shards}" ] }
    DNAMDLM_SCORE(tasks, [ [ id: 'genome' ], genome ], file(params.model, checkIfExists: true))
    DNAMDLM_GATHER(DNAMDLM_SCORE.out.parts.groupTuple(size: shards))
}
