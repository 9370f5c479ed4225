/**
 * How often a trial may be answered well and not heard out before that is believed.
 *
 * A caller that leaves in the middle of an answer says nothing of its end, and one such trial proves nothing. But where callers always
 * leave, as those do who look into a stream, no trial would ever say more, and what is well would stay on trial for ever. What had been
 * wrong was mostly that there was no answer, or a bad one. If this was not it, the next failures say so, and it stays out for longer.
 */
export const UNHEARD_TRIALS = 3;
